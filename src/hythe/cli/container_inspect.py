"""The output of ``inspect`` for a container, as ``docker inspect`` prints it."""

from typing import Any

import msgspec

from hythe.containers.container import Container, ContainerState, ContainerStatus, Device, Mount, PublishedPort
from hythe.containers.errors import ContainerError
from hythe.containers.network import BRIDGE, GUEST_ADDRESS
from hythe.containers.network_files import hostname
from hythe.containers.store import ContainerStore

_NEVER = "0001-01-01T00:00:00Z"


def find_container(text: str, *, needed: bool = False) -> dict[str, Any] | None:
    """Return docker's fields for the container that ``text`` names, None if none has the name.

    If ``needed``, raises ContainerError instead. Otherwise ``text`` can also name an image.
    """
    store = ContainerStore()
    try:
        container = store.find(text)
    except ContainerError:
        if needed:
            raise
        return None
    return description(store, container)


def description(store: ContainerStore, container: Container) -> dict[str, Any]:
    """Return the fields of ``docker inspect`` for a container."""
    command = container.command or ("",)
    return {
        "Id": container.id,
        "Created": container.created,
        "Path": command[0],
        "Args": list(command[1:]),
        "State": _state(store.status(container)),
        "Image": container.image_id,
        "LogPath": str(store.path(container) / "log.jsonl"),
        "Name": f"/{container.name}",
        "RestartCount": 0,
        "Driver": "overlay",
        "Platform": "linux",
        "HostConfig": _host(container),
        "NetworkSettings": _network(container, store.status(container)),
        "Mounts": [_mount(mount) for mount in container.host.mounts],
        "Config": {
            "Hostname": hostname(container),
            "Image": container.image,
            "Tty": container.host.terminal,
            "OpenStdin": container.host.interactive,
            "StopTimeout": container.host.stop_timeout,
            **msgspec.to_builtins(container.config),
        },
    }


def _state(status: ContainerStatus) -> dict[str, Any]:
    return {
        "Status": status.state.value,
        "Running": status.state is ContainerState.RUNNING,
        "Paused": False,
        "Pid": status.process,
        "ExitCode": status.exit_code,
        "Error": status.error,
        "StartedAt": status.started or _NEVER,
        "FinishedAt": status.finished or _NEVER,
    }


def _host(container: Container) -> dict[str, Any]:
    host = container.host
    return {
        "NetworkMode": host.network,
        "PortBindings": _bindings(host.ports),
        "PublishAllPorts": host.publish_all,
        "AutoRemove": host.auto_remove,
        "ReadonlyRootfs": host.read_only,
        "CapAdd": list(host.cap_add),
        "CapDrop": list(host.cap_drop),
        "Memory": host.limits.memory,
        "NanoCpus": int(host.limits.cpus * 10**9),
        "MemorySwap": host.limits.swap,
        "CpuShares": host.limits.shares,
        "CpusetCpus": host.limits.processors,
        "PidsLimit": host.limits.processes,
        "Ulimits": [{"Name": limit.name, "Soft": limit.soft, "Hard": limit.hard} for limit in host.process_limits],
        "Privileged": host.privileged,
        "Init": host.init,
        "GroupAdd": list(host.groups),
        "Dns": list(host.dns),
        "ExtraHosts": [":".join(reversed(row.split("\t"))) for row in host.hosts],
        "ShmSize": host.shared_memory,
        "Sysctls": host.kernel_settings,
        "Devices": [_device(device) for device in host.devices],
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "Runtime": host.runtime,
    }


def _network(container: Container, status: ContainerStatus) -> dict[str, Any]:
    has_address = container.host.network == BRIDGE and status.state is ContainerState.RUNNING
    return {"IPAddress": GUEST_ADDRESS if has_address else "", "Ports": _bindings(status.ports)}


def _bindings(ports: tuple[PublishedPort, ...]) -> dict[str, list[dict[str, str]]]:
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in ports:
        outside = "-".join(dict.fromkeys(str(number) for number in (port.host_port, port.last_host_port) if number))
        inside = f"{port.container_port}/{port.protocol}"
        bindings.setdefault(inside, []).append({"HostIp": port.address, "HostPort": outside})
    return bindings


def _device(device: Device) -> dict[str, str]:
    return {
        "PathOnHost": device.source,
        "PathInContainer": device.target,
        "CgroupPermissions": device.access,
    }


def _mount(mount: Mount) -> dict[str, Any]:
    return {
        "Type": "volume" if mount.volume else "bind" if mount.source else "tmpfs",
        "Name": mount.volume.strip("."),
        "Source": mount.source,
        "Destination": mount.target,
        "Mode": ",".join(mount.options),
        "RW": "ro" not in mount.options,
    }
