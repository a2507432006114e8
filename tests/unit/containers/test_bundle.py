"""The runtime's configuration: docker's defaults, changed by options."""

from pathlib import Path

import pytest

from hythe.containers import seccomp
from hythe.containers.bundle import environment, make_mountpoints, runtime_config
from hythe.containers.capabilities import DEFAULT_CAPABILITIES, capabilities, own_capabilities, parse_capability
from hythe.containers.container import Container, Device, HostConfig, Mount, ProcessLimit, ResourceLimits
from hythe.containers.errors import CannotStart, InvalidOption
from hythe.containers.users import ContainerUser
from hythe.oci.config import ContainerConfig

ROOT = ContainerUser(0, 0, (10,), "/root")


def container(config: ContainerConfig | None = None, host: HostConfig | None = None) -> Container:
    return Container(
        "c" * 64, "web", "2026-11-23T15:00:00.000000000Z", "box", "", "", (), config or ContainerConfig(cmd=("sh",)),
        host or HostConfig(network="none"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        ((), (), set(DEFAULT_CAPABILITIES)),
        (("CAP_SYS_ADMIN",), (), {*DEFAULT_CAPABILITIES, "CAP_SYS_ADMIN"}),
        ((), ("CAP_CHOWN",), set(DEFAULT_CAPABILITIES) - {"CAP_CHOWN"}),
        (("CAP_CHOWN",), ("ALL",), {"CAP_CHOWN"}),
        (("ALL",), ("CAP_CHOWN",), set(own_capabilities()) - {"CAP_CHOWN"}),
        ((), ("ALL",), set()),
    ],
)
def test_capabilities(add: tuple[str, ...], drop: tuple[str, ...], expected: set[str]) -> None:
    """Docker's set with additions and removals; a single one overrides ALL."""
    assert expected == set(capabilities(add, drop))


def test_capability_names() -> None:
    """In any case, with CAP_ or without."""
    assert {parse_capability(text) for text in ("chown", "CHOWN", "cap_chown")} == {"CAP_CHOWN"}
    with pytest.raises(InvalidOption):
        parse_capability("fly")


def test_the_process(tmp_path: Path) -> None:
    """Entrypoint and command are joined; user, groups and folder come from the image."""
    config = ContainerConfig(entrypoint=("/run",), cmd=("a", "b"), working_dir="/srv")
    process = runtime_config(tmp_path, container(config), ROOT, ())["process"]

    assert process["args"] == ("/run", "a", "b")
    assert process["cwd"] == "/srv"
    assert process["user"] == {"uid": 0, "gid": 0, "additionalGids": (10,)}
    assert process["noNewPrivileges"] is False


def test_a_container_without_a_command_is_refused(tmp_path: Path) -> None:
    """The hint says to add one."""
    with pytest.raises(CannotStart, match="no command"):
        runtime_config(tmp_path, container(ContainerConfig()), ROOT, ())


def test_the_environment() -> None:
    """The image's variables override docker's defaults."""
    config = ContainerConfig(cmd=("x",), env=("PATH=/own", "EMPTY=", "EQUALS=a=b"))
    variables = environment(container(config, HostConfig(network="none", terminal=True)), ROOT)

    assert variables == {
        "PATH": "/own",
        "HOSTNAME": "c" * 12,
        "HOME": "/root",
        "TERM": "xterm",
        "EMPTY": "",
        "EQUALS": "a=b",
    }


@pytest.mark.parametrize(("network", "own"), [("none", True), ("host", False), ("bridge", True)])
def test_networks(tmp_path: Path, network: str, own: bool) -> None:
    """`none` and `bridge` have a network namespace, `host` is the host's."""
    kinds = runtime_config(tmp_path, container(host=HostConfig(network=network)), ROOT, ())["linux"]["namespaces"]

    assert ({"type": "network"} in kinds) == own
    assert {"type": "pid"} in kinds


def test_limits_and_mounts(tmp_path: Path) -> None:
    """Bytes, processors and processes; bind mounts, tmpfs, and a user's /etc/hosts that replaces the default."""
    host = HostConfig(
        network="none", read_only=True, limits=ResourceLimits(1 << 20, 1.5, 100), mounts=(Mount("/etc/hosts"),)
    )
    mounts = (Mount("/data", source="/srv/data", options=("ro",)), Mount("/scratch", options=("size=1m",)))
    written = runtime_config(tmp_path, container(host=host), ROOT, mounts)
    by_target = {mount["destination"]: mount for mount in written["mounts"]}
    resources = written["linux"]["resources"]

    assert written["root"] == {"path": "rootfs", "readonly": True}
    assert resources["memory"] == {"limit": 1 << 20}
    assert resources["cpu"] == {"quota": 150_000, "period": 100_000}
    assert resources["pids"] == {"limit": 100}
    assert by_target["/data"] == {
        "destination": "/data",
        "type": "bind",
        "source": "/srv/data",
        "options": ("rbind", "ro"),
    }
    assert by_target["/scratch"]["type"] == "tmpfs"
    assert "/etc/hosts" not in by_target
    assert by_target["/etc/hostname"]["source"] == str(tmp_path / "files/hostname")


def test_a_privileged_container(tmp_path: Path) -> None:
    """All capabilities and devices; nothing is masked, read-only or filtered."""
    usual = runtime_config(tmp_path, container(), ROOT, ())
    free = runtime_config(tmp_path, container(host=HostConfig(network="none", privileged=True)), ROOT, ())

    assert free["process"]["capabilities"]["bounding"] == own_capabilities()
    assert "/dev/zero" in {device["path"] for device in free["linux"]["devices"]}
    assert free["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert (free["linux"]["maskedPaths"], free["linux"]["readonlyPaths"]) == ((), ())
    assert "seccomp" not in free["linux"]
    assert "/proc/kcore" in usual["linux"]["maskedPaths"]
    assert usual["linux"]["devices"] == []


def test_devices_and_limits_of_processes(tmp_path: Path) -> None:
    """A device is created and allowed; limits have the kernel's names, and -1 means unlimited."""
    limits = (ProcessLimit("nofile", 10, 20), ProcessLimit("core", -1, -1))
    host = HostConfig(network="none", devices=(Device("/dev/null", "/dev/x", "r"),), process_limits=limits)
    written = runtime_config(tmp_path, container(host=host), ROOT, ())
    [device] = written["linux"]["devices"]

    assert (device["path"], device["type"], device["major"], device["minor"]) == ("/dev/x", "c", 1, 3)
    assert written["linux"]["resources"]["devices"][-1] == {
        "allow": True, "access": "r", "type": "c", "major": 1, "minor": 3,
    }  # fmt: skip
    assert written["process"]["rlimits"] == [
        {"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20},
        {"type": "RLIMIT_CORE", "soft": 2**64 - 1, "hard": 2**64 - 1},
    ]
    for path in ("/nowhere", "/etc/passwd"):
        with pytest.raises(CannotStart):
            runtime_config(tmp_path, container(host=HostConfig(devices=(Device(path, path),))), ROOT, ())


def test_mountpoints(tmp_path: Path) -> None:
    """Every standard mount has a mount point; creating them twice changes nothing."""
    make_mountpoints(tmp_path)
    make_mountpoints(tmp_path)

    assert {path.name for path in tmp_path.iterdir()} == {"dev", "proc", "sys", "etc"}
    assert (tmp_path / "etc/mtab").readlink() == Path("/proc/mounts")


def test_the_system_call_filter_follows_the_capabilities() -> None:
    """System calls that need a capability are only allowed with it; unknown ones are refused."""

    def allowed(held: tuple[str, ...]) -> set[str]:
        rules = seccomp.default_profile(held)["syscalls"]
        return {name for rule in rules if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]}

    assert "chroot" in allowed(DEFAULT_CAPABILITIES)
    assert "chroot" not in allowed(())
    assert "bpf" not in allowed(DEFAULT_CAPABILITIES)
    assert "bpf" in allowed(("CAP_SYS_ADMIN",))
    assert {"read", "openat2", "execve"} <= allowed(())
    assert seccomp.default_profile(())["defaultAction"] == "SCMP_ACT_ERRNO"
