"""A container's connection to the outside: slirp4netns, which needs no rights on the host's network.

slirp4netns opens a connection on the host for each one that the container opens, and listens on published ports. It
parses what the container sends, so it runs without files and capabilities (``--enable-sandbox``) and with few system
calls (``--enable-seccomp``). Its own DNS server is off: its address would lead to every port of the host's DNS server,
which is on loopback on many machines.

The supervisor can be killed, so a guard owns slirp4netns: a small process that waits for the container's end.

    supervisor -> fork -> guard -> slirp4netns      the guard waits for the container, then ends slirp4netns
"""

import json
import os
import select
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from hythe.containers.container import HostConfig, PublishedPort
from hythe.containers.errors import CannotStart

BRIDGE = "bridge"
"""Docker's name of the default network: a network namespace that is connected to the outside."""
GUEST_ADDRESS = "10.0.2.100"
"""The address of every container on its own network."""
_PROGRAM = "slirp4netns"
_FLAGS = ("--configure", "--disable-host-loopback", "--disable-dns", "--enable-sandbox", "--enable-seccomp")
_START_TIMEOUT = 20  # seconds
_END_TIMEOUT = 5  # seconds
_MAX_ANSWER = 1 << 16
_ATTEMPTS = 20


class Connection(msgspec.Struct, frozen=True):
    """A container's running connection: the published ports as they are, and the guard's process."""

    ports: tuple[PublishedPort, ...] = ()
    guard: int = 0

    def wait(self) -> None:
        """Wait until the connection has ended and its ports are free; call it after the container's end."""
        if self.guard:
            with suppress(ChildProcessError):
                os.waitpid(self.guard, 0)


def check_installed(host: HostConfig) -> None:
    """Raise CannotStart if the container needs slirp4netns, and it is not installed."""
    if host.network == BRIDGE and shutil.which(_PROGRAM) is None:
        raise CannotStart(
            f"the container's network needs {_PROGRAM}, which is not installed",
            f"'apt install {_PROGRAM}' installs it; --network host shares the host's network, "
            "--network none needs no network",
        )


def connect(host: HostConfig, process: int) -> Connection:
    """Connect the network namespace of the container's first process, until it ends; raises CannotStart.

    Does nothing for a container with another network.
    """
    if host.network != BRIDGE:
        return Connection()
    with tempfile.TemporaryDirectory(prefix="hythe-") as folder:
        control, errors = Path(folder, "control"), Path(folder, "errors")
        ready, signal_ready = os.pipe()
        container = os.pidfd_open(process)
        guard = os.fork()
        if guard == 0:
            _guard(process, container, signal_ready, control, errors)
        os.close(container)
        os.close(signal_ready)
        with os.fdopen(ready, "rb") as pipe:
            started = select.select([pipe], [], [], _START_TIMEOUT)[0] and pipe.read(1)
        if not started:
            raise CannotStart(
                f"{_PROGRAM} failed: {_failure(errors)}",
                "it needs /dev/net/tun, which every user can open on most systems; "
                "--network host shares the host's network, --network none needs no network",
            )
        return Connection(tuple(_publish(control, port) for port in host.ports), guard)


def _failure(errors: Path) -> str:
    """Return the line that says what went wrong, the first that is not a warning; or that there is none."""
    lines = errors.read_text(errors="replace").splitlines() if errors.exists() else []
    return next((line.strip() for line in lines if line.strip() and not line.startswith("WARNING")), "no answer")


def host_address() -> str:
    """Return the host's address for connections to the outside, else loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # only selects a route: nothing is sent
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


# The guard


def _guard(process: int, container: int, ready: int, control: Path, errors: Path) -> NoReturn:
    """In the forked child: run slirp4netns until the container ends. Never returns."""
    try:
        _detach({container, ready})
        ending, keep_open = os.pipe()  # closed by our end, however we end: slirp4netns then ends, too
        with errors.open("wb") as log:
            slirp = subprocess.Popen(
                [
                    _PROGRAM,
                    *_FLAGS,
                    "--mtu=65520",
                    f"--api-socket={control}",
                    f"--ready-fd={ready}",
                    f"--exit-fd={ending}",
                    "--netns-type=path",
                    f"/proc/{process}/ns/net",
                    "tap0",
                ],
                stdout=log,
                stderr=log,
                pass_fds=(ready, ending),
            )
        os.close(ready)
        os.close(ending)
        ended = os.pidfd_open(slirp.pid)
        select.select([container, ended], [], [])
        os.close(keep_open)
        try:
            slirp.wait(_END_TIMEOUT)
        except subprocess.TimeoutExpired:
            slirp.kill()
            slirp.wait()
    finally:
        os._exit(0)


def _detach(kept: set[int]) -> None:
    """Leave the supervisor's session, and close its files: locks, pipes and the user's terminal."""
    os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(null, stream)
    for descriptor in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208
        if descriptor not in {0, 1, 2, *kept}:
            with suppress(OSError):  # the one of the listing itself
                os.close(descriptor)


# Publishing


def _publish(control: Path, port: PublishedPort) -> PublishedPort:
    """Listen on a host port; returns the port with the one that was taken. Raises CannotStart."""
    for number in _candidates(port):
        answer = _ask(
            control,
            "add_hostfwd",
            proto=port.protocol,
            host_addr=port.address,
            host_port=number,
            guest_addr=GUEST_ADDRESS,
            guest_port=port.container_port,
        )
        if "error" not in answer:
            return msgspec.structs.replace(port, host_port=number, last_host_port=number)
    shown = port.host_port if port.host_port == port.last_host_port else f"{port.host_port}-{port.last_host_port}"
    where = f"{port.address}:{shown}/{port.protocol}"
    raise CannotStart(f"cannot publish port {where}: {_reason(port)}", "choose another host port, or stop what uses it")


def _candidates(port: PublishedPort) -> Iterable[int]:
    if port.host_port:
        return range(port.host_port, port.last_host_port + 1)
    return _free_ports(port)


def _free_ports(port: PublishedPort) -> Iterator[int]:
    for _ in range(_ATTEMPTS):
        with suppress(OSError), _socket(port) as probe:
            probe.bind((port.address, 0))
            number = int(probe.getsockname()[1])
            probe.close()
            yield number


def _reason(port: PublishedPort) -> str:
    """Return why a port cannot be listened on: slirp4netns does not say it."""
    try:
        with _socket(port) as probe:
            probe.bind((port.address, port.host_port))
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return f"{_PROGRAM} refused it"


def _socket(port: PublishedPort) -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM if port.protocol == "tcp" else socket.SOCK_DGRAM)


def _ask(control: Path, action: str, **arguments: object) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_START_TIMEOUT)
        connection.connect(str(control))
        connection.sendall(json.dumps({"execute": action, "arguments": arguments}).encode())
        connection.shutdown(socket.SHUT_WR)
        answer = json.loads(connection.recv(_MAX_ANSWER) or b"{}")
        return answer if isinstance(answer, dict) else {}
