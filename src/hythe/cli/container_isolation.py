"""The isolation flags of ``run`` and ``create``: network, mounts, privileges and resource limits."""

import re
import sys
from argparse import ArgumentParser, Namespace

from hythe.containers.capabilities import parse_capability
from hythe.containers.container import HostConfig, PublishedPort, ResourceLimits
from hythe.containers.devices import parse_device
from hythe.containers.errors import InvalidOption
from hythe.containers.namespace import in_user_namespace
from hythe.containers.network import BRIDGE
from hythe.containers.network_files import parse_address, parse_host
from hythe.containers.ports import parse_published
from hythe.containers.process_limits import parse_process_limit
from hythe.containers.store import ContainerStore
from hythe.containers.volumes import parse_mount, parse_tmpfs, parse_volume, volumes_of

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([bkmgt]?)(?:i?b)?", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
MIN_MEMORY = 6 << 20
_NETWORKS = {"bridge": BRIDGE, "default": BRIDGE, "host": "host", "none": "none"}
"""Docker's names of networks."""
_NO_EFFECT = ("apparmor", "label", "systempaths")
"""Security options that have no effect in hythe."""


def configure(parser: ArgumentParser) -> None:
    """Add the isolation flags."""
    _configure_network(parser)
    _configure_files(parser)
    _configure_rights(parser)
    _configure_limits(parser)


def _configure_network(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--network",
        "--net",
        default=BRIDGE,
        metavar="{bridge,host,none}",
        help="bridge (default): a network of its own; host: the host's; or none",
    )
    parser.add_argument(
        "-p",
        "--publish",
        action="append",
        default=[],
        metavar="[ADDRESS:][HOSTPORT:]PORT[/udp]",
        help="publish a port of the container on the host",
    )
    parser.add_argument(
        "-P", "--publish-all", action="store_true", help="publish all exposed ports on free ports of the host"
    )
    parser.add_argument("-h", "--hostname", default="", metavar="NAME", help="host name of the container")
    parser.add_argument(
        "--add-host", action="append", default=[], metavar="NAME:ADDRESS", help="add an entry to /etc/hosts"
    )
    parser.add_argument(
        "--dns", action="append", default=[], metavar="ADDRESS", help="DNS server (default: those of the host)"
    )


def _configure_files(parser: ArgumentParser) -> None:
    parser.add_argument(
        "-v", "--volume", action="append", default=[], metavar="[SOURCE:]TARGET[:ro]", help="mount a folder or volume"
    )
    parser.add_argument(
        "--mount",
        action="append",
        default=[],
        metavar="type=KIND,..",
        help="mount a file system: type=bind|volume|tmpfs, source=.., target=.., readonly",
    )
    parser.add_argument(
        "--volumes-from",
        action="append",
        default=[],
        metavar="CONTAINER[:ro]",
        help="mount the volumes of another container",
    )
    parser.add_argument("--tmpfs", action="append", default=[], metavar="TARGET[:OPTIONS]", help="mount a tmpfs")
    parser.add_argument("--shm-size", default="64m", metavar="SIZE", help="size of /dev/shm (default: 64m)")
    parser.add_argument("--read-only", action="store_true", help="mount the root file system read-only")
    parser.add_argument(
        "--device", action="append", default=[], metavar="SOURCE[:TARGET][:rwm]", help="add a host device"
    )


def _configure_rights(parser: ArgumentParser) -> None:
    parser.add_argument("--cap-add", action="append", default=[], metavar="CAPABILITY", help="add a Linux capability")
    parser.add_argument("--cap-drop", action="append", default=[], metavar="CAPABILITY", help="drop a Linux capability")
    parser.add_argument(
        "--privileged", action="store_true", help="grant all capabilities and devices, and disable seccomp"
    )
    parser.add_argument(
        "--security-opt",
        action="append",
        default=[],
        metavar="OPTION",
        help="set a security option: no-new-privileges or seccomp=unconfined",
    )
    parser.add_argument("--group-add", action="append", default=[], metavar="GROUP", help="add a supplementary group")
    parser.add_argument(
        "--sysctl",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set a kernel parameter in the container's namespaces",
    )


def _configure_limits(parser: ArgumentParser) -> None:
    parser.add_argument("-m", "--memory", default="", metavar="SIZE", help="memory limit, such as 512m (needs root)")
    parser.add_argument(
        "--memory-swap", default="", metavar="SIZE", help="limit of memory plus swap space (needs root)"
    )
    parser.add_argument("--cpus", type=float, default=0, metavar="N", help="number of CPUs, such as 1.5 (needs root)")
    parser.add_argument(
        "-c",
        "--cpu-shares",
        type=int,
        default=0,
        metavar="WEIGHT",
        help="CPU weight relative to other containers, usually 1024 (needs root)",
    )
    parser.add_argument("--cpuset-cpus", default="", metavar="LIST", help="CPUs to use: 0-2,4 (needs root)")
    parser.add_argument(
        "--pids-limit", type=int, default=0, metavar="N", help="maximum number of processes (needs root)"
    )
    parser.add_argument(
        "--ulimit", action="append", default=[], metavar="NAME=SOFT[:HARD]", help="set a ulimit, such as nofile=1024"
    )


def parse_host_config(arguments: Namespace) -> HostConfig:
    """Return the host configuration that all flags set, also those of ``container_options``. Raises InvalidOption."""
    _check_network(arguments)
    chosen = [*map(parse_volume, arguments.volume), *map(parse_mount, arguments.mount)]
    chosen += map(parse_tmpfs, arguments.tmpfs)
    targets = {mount.target for mount in chosen}
    others = [mount for text in arguments.volumes_from for mount in volumes_of(ContainerStore(), text)]
    return HostConfig(
        network=_NETWORKS[arguments.network],
        ports=_parse_ports(arguments),
        publish_all=arguments.publish_all and _NETWORKS[arguments.network] == BRIDGE,
        hostname=arguments.hostname,
        hosts=tuple(map(parse_host, arguments.add_host)),
        dns=tuple(map(parse_address, arguments.dns)),
        mounts=(*(mount for mount in others if mount.target not in targets), *chosen),
        shared_memory=parse_size(arguments.shm_size),
        read_only=arguments.read_only,
        devices=tuple(map(parse_device, arguments.device)),
        cap_add=tuple(map(parse_capability, arguments.cap_add)),
        cap_drop=tuple(map(parse_capability, arguments.cap_drop)),
        privileged=arguments.privileged,
        groups=tuple(arguments.group_add),
        kernel_settings=dict(map(_parse_kernel_setting, arguments.sysctl)),
        limits=_parse_limits(arguments),
        process_limits=tuple(map(parse_process_limit, arguments.ulimit)),
        terminal=arguments.tty,
        interactive=arguments.interactive,
        init=arguments.init,
        auto_remove=arguments.rm,
        runtime=arguments.runtime,
        stop_timeout=arguments.stop_timeout,
        **_parse_security(arguments.security_opt),
    )


def _check_network(arguments: Namespace) -> None:
    if arguments.network not in _NETWORKS:
        raise InvalidOption(
            f"network {arguments.network!r} is not supported: networks of several containers need a daemon",
            "use --network bridge (the default), host or none",
        )
    if (arguments.publish or arguments.publish_all) and _NETWORKS[arguments.network] != BRIDGE:
        network = "the host's network" if arguments.network == "host" else "no network"
        print(f"note: published ports are discarded: the container has {network}", file=sys.stderr)


def _parse_ports(arguments: Namespace) -> tuple[PublishedPort, ...]:
    ports = tuple(port for text in arguments.publish for port in parse_published(text))
    return ports if _NETWORKS[arguments.network] == BRIDGE else ()


def _parse_security(texts: list[str]) -> dict[str, bool]:
    """Return the fields of HostConfig that ``--security-opt`` sets."""
    fields: dict[str, bool] = {}
    for text in texts:
        name, _, value = text.replace(":", "=", 1).partition("=")
        if name == "no-new-privileges" and value in ("", "true", "false"):
            fields["no_new_privileges"] = value != "false"
        elif name == "seccomp" and value == "unconfined":
            fields["unconfined"] = True
        elif name not in _NO_EFFECT:
            raise InvalidOption(f"unknown security option {text!r}", "use no-new-privileges, seccomp=unconfined")
    return fields


def _parse_kernel_setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise InvalidOption(f"{text!r} is not a kernel parameter", "write NAME=VALUE")
    return name, value


def _parse_limits(arguments: Namespace) -> ResourceLimits:
    memory = parse_size(arguments.memory) if arguments.memory else 0
    if memory and memory < MIN_MEMORY:
        raise InvalidOption(f"--memory {arguments.memory} is below the minimum", "use 6m or more")
    if arguments.cpus < 0 or arguments.cpu_shares < 0 or arguments.pids_limit < -1:
        raise InvalidOption("a limit cannot be negative", "leave out the flag for no limit")
    limits = ResourceLimits(
        memory=memory,
        swap=_parse_swap(arguments.memory_swap, memory),
        cpus=arguments.cpus,
        processes=max(arguments.pids_limit, 0),
        shares=arguments.cpu_shares,
        processors=arguments.cpuset_cpus,
    )
    if limits != ResourceLimits() and in_user_namespace():
        raise InvalidOption(
            "resource limits need control groups, which need root",
            "leave out --memory, --cpus and similar flags; --ulimit works without root",
        )
    return limits


def _parse_swap(text: str, memory: int) -> int:
    """Return the limit of memory plus swap space in bytes; -1 for no limit."""
    swap = -1 if text == "-1" else parse_size(text) if text else 0
    if swap and not memory:
        raise InvalidOption("--memory-swap needs --memory", "--memory-swap limits memory and swap space together")
    if 0 < swap < memory:
        raise InvalidOption(
            "--memory-swap is less than --memory", "--memory-swap limits memory and swap space together"
        )
    return swap


def parse_size(text: str) -> int:
    """Return a size such as ``512m`` in bytes. Raises InvalidOption."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InvalidOption(f"invalid size {text!r}", "use a number with b, k, m or g, such as 512m")
    return int(float(match[1]) * _UNITS[match[2].lower()])
