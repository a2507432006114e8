"""Parsing flags: volumes, signals, and options that override the image's configuration."""

import signal

import pytest

from hythe.containers.container import Device, Mount, ProcessLimit
from hythe.containers.devices import parse_device
from hythe.containers.errors import InvalidOption
from hythe.containers.lifecycle import CreateOptions, merge, parse_signal
from hythe.containers.network import host_address
from hythe.containers.network_files import parse_host
from hythe.containers.process_limits import parse_process_limit
from hythe.containers.volumes import declared_volumes, parse_mount, parse_tmpfs, parse_volume
from hythe.oci.config import ContainerConfig


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/srv:/data", Mount("/data", source="/srv")),
        ("/srv:/data/:ro", Mount("/data", source="/srv", options=("ro",))),
        ("/srv:/data:ro,z,rslave", Mount("/data", source="/srv", options=("ro", "rslave"))),
        ("named:/data", Mount("/data", volume="named")),
        ("/data", Mount("/data", volume=".")),
        ("named:/data:ro,nocopy", Mount("/data", volume="named", options=("ro",), empty=True)),
    ],
)
def test_volumes(text: str, expected: Mount) -> None:
    """A path is on the host, a word is a named volume, nothing is an anonymous volume."""
    assert expected == parse_volume(text)


@pytest.mark.parametrize(
    "text", ["", ":", "/a:", ":/a", "/a:b", "/a:/", "/a:/b:what", "a:b:c:d", "/a:/..", "x/y:/a", "/a:/b:nocopy"]
)
def test_invalid_volumes(text: str) -> None:
    """The hint shows the right form."""
    with pytest.raises(InvalidOption):
        parse_volume(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("type=bind,source=/etc,target=/x", Mount("/x", source="/etc")),
        ("type=bind,src=/etc,dst=/x/,ro", Mount("/x", source="/etc", options=("ro",))),
        ("type=bind,src=/etc,destination=/x,readonly=false", Mount("/x", source="/etc")),
        ("type=bind,src=/etc,dst=/x,bind-propagation=rslave", Mount("/x", source="/etc", options=("rslave",))),
        ("type=volume,source=named,target=/x", Mount("/x", volume="named")),
        ("target=/x", Mount("/x", volume=".")),
        ("target=/x,volume-nocopy", Mount("/x", volume=".", empty=True)),
        ("source=named,target=/x,volume-nocopy=false", Mount("/x", volume="named")),
        ("type=tmpfs,target=/x,tmpfs-size=1m,tmpfs-mode=700", Mount("/x", options=("size=1m", "mode=700"))),
    ],
)
def test_mounts(text: str, expected: Mount) -> None:
    """--mount can express the same as -v and --tmpfs."""
    assert expected == parse_mount(text)


@pytest.mark.parametrize(
    "text",
    ["", "type=bind,src=/etc", "type=bind,dst=/x", "type=bind,src=/no/where,dst=/x", "type=bind,src=/etc,dst=/",
     "type=pipe,src=a,dst=/x", "type=tmpfs,src=/a,dst=/x", "type=bind,src=/etc,dst=/x,size=1", "src=../a,dst=/x"],
)  # fmt: skip
def test_invalid_mounts(text: str) -> None:
    """The source of a bind mount must exist for --mount, but not for -v, as in docker."""
    with pytest.raises(InvalidOption):
        parse_mount(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/dev/fuse", Device("/dev/fuse", "/dev/fuse")),
        ("/dev/fuse:r", Device("/dev/fuse", "/dev/fuse", "r")),
        ("/dev/fuse:/dev/x:rw", Device("/dev/fuse", "/dev/x", "rw")),
    ],
)
def test_devices(text: str, expected: Device) -> None:
    """Source, target and access."""
    assert expected == parse_device(text)


@pytest.mark.parametrize("text", ["", "fuse", "/dev/fuse:x", "/dev/fuse:", "/dev/a:/dev/b:rw:rw"])
def test_invalid_devices(text: str) -> None:
    """The hint shows the right form."""
    with pytest.raises(InvalidOption):
        parse_device(text)


def test_limits_of_processes() -> None:
    """Soft and hard limit, or one number for both."""
    assert parse_process_limit("nofile=10:20") == ProcessLimit("nofile", 10, 20)
    assert parse_process_limit("core=-1") == parse_process_limit("core=unlimited") == ProcessLimit("core", -1, -1)
    for text in ("nofile", "nofile=", "files=1", "nofile=20:10", "nofile=-1:10", "nofile=a"):
        with pytest.raises(InvalidOption):
            parse_process_limit(text)


def test_hosts() -> None:
    """IPv4 and IPv6 addresses, in docker's two spellings."""
    assert parse_host("a:192.0.2.1") == "192.0.2.1\ta"
    assert parse_host("a:2001:db8::1") == parse_host("a=2001:db8::1") == parse_host("a:[2001:db8::1]")
    assert parse_host("here:host-gateway") == f"{host_address()}\there"
    for text in ("", "a", ":192.0.2.1", "a:b", "a b:192.0.2.1"):
        with pytest.raises(InvalidOption):
            parse_host(text)


def test_tmpfs_mounts() -> None:
    """--tmpfs accepts the kernel's options."""
    assert parse_tmpfs("/run:size=1m,exec") == Mount("/run", options=("size=1m", "exec"))
    with pytest.raises(InvalidOption):
        parse_tmpfs("run")


def test_declared_volumes_give_way_to_chosen_mounts() -> None:
    """A target with a user's mount gets no anonymous volume."""
    mounts = declared_volumes(("/data/", "/other", "data", "/", "//../.."), (Mount("/other", source="/srv"),))

    assert mounts == (Mount("/data", volume="."),)


def test_signals() -> None:
    """Names in any case, with or without SIG, or numbers."""
    assert {parse_signal(text) for text in ("term", "SIGTERM", "15")} == {signal.SIGTERM}
    assert parse_signal("SIGRTMIN+3") == signal.SIGRTMIN + 3
    for text in ("", "SIGNOTHING", "999", "0", "RTMIN+", "RTMIN+99", "TERM+1"):
        with pytest.raises(InvalidOption):
            parse_signal(text)


BASE = ContainerConfig(entrypoint=("/entry",), cmd=("default",), env=("A=1", "B=2"), user="app", labels={"a": "1"})


@pytest.mark.parametrize(
    ("request_", "entrypoint", "cmd"),
    [
        (CreateOptions("box"), ("/entry",), ("default",)),
        (CreateOptions("box", command=("x", "y")), ("/entry",), ("x", "y")),
        (CreateOptions("box", entrypoint=("/own",)), ("/own",), None),
        (CreateOptions("box", entrypoint=("/own",), command=("x",)), ("/own",), ("x",)),
        (CreateOptions("box", entrypoint=(), command=("x",)), None, ("x",)),
    ],
)
def test_commands_are_merged(
    request_: CreateOptions, entrypoint: tuple[str, ...] | None, cmd: tuple[str, ...] | None
) -> None:
    """Arguments replace the command; an entrypoint replaces both."""
    merged = merge(BASE, request_)

    assert (merged.entrypoint, merged.cmd) == (entrypoint, cmd)


def test_the_rest_is_merged() -> None:
    """Variables and labels by name; user and folder completely; the rest is kept."""
    merged = merge(BASE, CreateOptions("box", env=("B=3", "C=4"), labels={"b": "2"}, working_dir="relative"))

    assert merged.env == ("A=1", "B=3", "C=4")
    assert merged.labels == {"a": "1", "b": "2"}
    assert (merged.user, merged.working_dir) == ("app", "/relative")
    assert merge(ContainerConfig(), CreateOptions("box")) == ContainerConfig()
