"""What flags mean: volumes, signals, and the image's configuration with options over it."""

import signal

import pytest

from hythe.containers.container import Mount
from hythe.containers.creation import Request, merge
from hythe.containers.errors import InvalidOption
from hythe.containers.stopping import parse_signal
from hythe.containers.volumes import declared_volumes, parse_tmpfs, parse_volume
from hythe.oci.config import ContainerConfig


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/srv:/data", Mount("/data", source="/srv")),
        ("/srv:/data/:ro", Mount("/data", source="/srv", options=("ro",))),
        ("/srv:/data:ro,z,rslave", Mount("/data", source="/srv", options=("ro", "rslave"))),
        ("named:/data", Mount("/data", volume="named")),
        ("/data", Mount("/data", volume=".")),
    ],
)
def test_volumes(text: str, expected: Mount) -> None:
    """A path is the host's, a word names a volume, nothing makes one for this container."""
    assert expected == parse_volume(text)


@pytest.mark.parametrize("text", ["", ":", "/a:", ":/a", "/a:b", "/a:/", "/a:/b:what", "a:b:c:d", "/a:/..", "x/y:/a"])
def test_volumes_that_make_no_sense(text: str) -> None:
    """Each with what would be right."""
    with pytest.raises(InvalidOption):
        parse_volume(text)


def test_memory_mounts() -> None:
    """--tmpfs takes the kernel's options."""
    assert parse_tmpfs("/run:size=1m,exec") == Mount("/run", options=("size=1m", "exec"))
    with pytest.raises(InvalidOption):
        parse_tmpfs("run")


def test_declared_volumes_give_way_to_chosen_mounts() -> None:
    """A place that the user mounts something on gets no volume besides."""
    mounts = declared_volumes(("/data/", "/other", "data", "/", "//../.."), (Mount("/other", source="/srv"),))

    assert mounts == (Mount("/data", volume="."),)


def test_signals() -> None:
    """Names in any case, with SIG or without, or numbers."""
    assert {parse_signal(text) for text in ("term", "SIGTERM", "15")} == {signal.SIGTERM}
    assert parse_signal("SIGRTMIN+3") == signal.SIGRTMIN + 3
    for text in ("", "SIGNOTHING", "999", "0", "RTMIN+", "RTMIN+99", "TERM+1"):
        with pytest.raises(InvalidOption):
            parse_signal(text)


BASE = ContainerConfig(entrypoint=("/entry",), cmd=("default",), env=("A=1", "B=2"), user="app", labels={"a": "1"})


@pytest.mark.parametrize(
    ("request_", "entrypoint", "cmd"),
    [
        (Request("box"), ("/entry",), ("default",)),
        (Request("box", words=("x", "y")), ("/entry",), ("x", "y")),
        (Request("box", entrypoint=("/own",)), ("/own",), None),
        (Request("box", entrypoint=("/own",), words=("x",)), ("/own",), ("x",)),
        (Request("box", entrypoint=(), words=("x",)), None, ("x",)),
    ],
)
def test_commands_are_merged(
    request_: Request, entrypoint: tuple[str, ...] | None, cmd: tuple[str, ...] | None
) -> None:
    """Words replace the command; an entrypoint replaces both."""
    merged = merge(BASE, request_)

    assert (merged.entrypoint, merged.cmd) == (entrypoint, cmd)


def test_the_rest_is_merged() -> None:
    """Variables and labels by name; user and folder as a whole; what is not asked for stays."""
    merged = merge(BASE, Request("box", env=("B=3", "C=4"), labels={"b": "2"}, working_dir="relative"))

    assert merged.env == ("A=1", "B=3", "C=4")
    assert merged.labels == {"a": "1", "b": "2"}
    assert (merged.user, merged.working_dir) == ("app", "/relative")
    assert merge(ContainerConfig(), Request("box")) == ContainerConfig()
