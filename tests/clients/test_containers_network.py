"""Networks of containers, as root and rootless: separate from the host's and each other's, with published ports."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.clients.test_containers_rootless import hythe_user
from tests.parts.hythe_containers import ContainersHythe

from hythe.containers.network import host_address

__all__ = ["hythe_user"]
pytestmark = pytest.mark.clients

SECRET = "Authorization: Bearer " + "s3cret"
SERVE = "mkdir -p /w; echo {} > /w/x; exec /bin/busybox httpd -f -p {} -h /w"
RAW = """
import socket, struct, sys
for family, kind, protocol in ((17, 3, 0x300), (17, 2, 0x300), (2, 3, 6), (2, 3, 255), (10, 3, 58)):
    try:
        socket.socket(family, kind, protocol)
        print("opened", family, kind)
    except OSError as error:
        print(error.errno)
print("ping", socket.socket(2, 2, 1).type)
"""
"""Opens the sockets that read or write packets by hand, and the one that ``ping`` needs."""


@pytest.fixture(params=["root", "rootless"])
def hythe(request: pytest.FixtureRequest) -> ContainersHythe:
    """`hythe` as root, and as an ordinary user."""
    found: ContainersHythe = request.getfixturevalue({"root": "hythe_box", "rootless": "hythe_user"}[request.param])
    return found


@contextlib.contextmanager
def listening(address: str, kind: socket.SocketKind = socket.SOCK_STREAM) -> Iterator[tuple[int, list[bytes]]]:
    """A server of the host that says a secret; its port, and what it received."""
    received: list[bytes] = []
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind) as server:
        server.bind((address, 0))
        if kind is socket.SOCK_STREAM:
            server.listen()

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    if kind is socket.SOCK_DGRAM:
                        received.append(server.recv(100))
                        continue
                    connection, _ = server.accept()
                    with connection:
                        received.append(b"connected")
                        connection.sendall(SECRET.encode())

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1], received
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)


def with_python() -> list[str]:
    """Return arguments of `run` for the image, with the host's Python as the command."""
    paths = ("/usr", "/lib", "/lib64", str(Path(sys.base_prefix)))
    mounts = [word for path in paths for word in ("-v", f"{path}:{path}:ro")]
    return [*mounts, "box", str(Path(sys.executable).resolve())]


def fetch(address: str, port: int) -> str:
    """Return what a web server of a container says; tries until it listens."""
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection((address, port), 2) as connection:
            connection.sendall(b"GET /x HTTP/1.0\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(1000), b""))
            if answer:
                return answer.decode().rpartition("\r\n")[2].strip()
        time.sleep(0.05)
    return ""


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def helpers() -> list[int]:
    """Return the running helpers of container networks, of other tests as well."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if words[0] == b"slirp4netns" and b"--disable-dns" in words:
                found.append(int(folder.name))
    return found


def port_of(hythe: ContainersHythe, name: str) -> int:
    shown = hythe.ok("ps", "--filter", f"name={name}", "--format", "{{.Ports}}")
    return int(shown.partition("->")[0].rpartition(":")[2])


def test_the_hosts_loopback_is_not_reachable(hythe: ContainersHythe) -> None:
    """Neither by its address, nor by the gateway's or the DNS server's of the network, nor as an abstract socket."""
    with listening("127.0.0.1") as (port, received), socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(f"\0hythe-test-{os.getpid()}")
        tries = "; ".join(
            f"/bin/busybox nc -w 1 {address} {port} </dev/null"
            for address in ("127.0.0.1", "10.0.2.2", "10.0.2.3", "0.0.0.0", "::1", "fd00::2", "10.0.2.100")
        )
        done = hythe.run("run", "--rm", "box", "sh", "-c", f"{tries}; cat /proc/net/unix /proc/net/tcp")

    assert SECRET not in done.stdout
    assert received == []
    assert "hythe-test" not in done.stdout
    assert f":{port:04X}" not in done.stdout


@pytest.mark.parametrize("network", ["bridge", "host"])
def test_packets_cannot_be_read_or_written_by_hand(hythe_box: ContainersHythe, network: str) -> None:
    """A program in a container reads no other program's traffic, on its own network or on the host's."""
    done = hythe_box.run("run", "--rm", "--network", network, *with_python(), "-c", RAW)
    lines = done.stdout.splitlines()

    assert lines[:5] == ["1"] * 5, done.stderr
    assert network == "host" or lines[5].startswith("ping")


def test_raw_packets_are_there_for_those_who_ask(hythe_box: ContainersHythe) -> None:
    """--cap-add grants the capability on both networks."""
    for network in ("bridge", "host"):
        flags = ("--network", network, "--cap-add", "NET_RAW")
        status = hythe_box.ok("run", "--rm", *flags, "box", "cat", "/proc/self/status")
        assert "CapEff:\t00000000a80425fb" in status


def test_published_ports_are_reached_from_everywhere(hythe: ContainersHythe) -> None:
    """By loopback, by the host's address, and from another container; not by the container's own address."""
    hythe.ok("run", "-d", "--name", "web", "-p", "80", "box", "sh", "-c", SERVE.format("hello", 80))
    port = port_of(hythe, "web")

    assert fetch("127.0.0.1", port) == "hello"
    assert fetch(host_address(), port) == "hello"
    there = f"http://{host_address()}:{port}/x"
    assert hythe.ok("run", "--rm", "box", "/bin/busybox", "wget", "-q", "-O-", there) == "hello"
    assert hythe.run("run", "--rm", "box", "/bin/busybox", "wget", "-T", "2", "http://10.0.2.100/x").returncode


def test_a_port_published_on_loopback_is_only_there(hythe: ContainersHythe) -> None:
    """Two containers use the same port inside, and each has its own outside."""
    for name in ("one", "two"):
        hythe.ok("run", "-d", "--name", name, "-p", "127.0.0.1::80", "box", "sh", "-c", SERVE.format(name, 80))
    ports = [port_of(hythe, name) for name in ("one", "two")]

    assert [fetch("127.0.0.1", port) for port in ports] == ["one", "two"]
    with pytest.raises(OSError):
        socket.create_connection((host_address(), ports[0]), 2)


def test_a_port_that_is_taken_is_named(hythe: ContainersHythe) -> None:
    """The container does not start; of several host ports, the next one is used."""
    with listening("0.0.0.0") as (port, _):
        done = hythe.run("run", "--rm", "-p", f"{port}:80", "box", "true")
        assert done.returncode == 125
        assert f"cannot publish port 0.0.0.0:{port}/tcp: address already in use" in done.stderr
        assert hythe.ok("ps", "-aq") == ""
        hythe.ok("run", "-d", "--name", "web", "-p", f"{port}-{port + 20}:80", "box", "/bin/busybox", "sleep", "100")
        assert port < port_of(hythe, "web") <= port + 20


def test_datagrams_are_forwarded_both_ways(hythe_box: ContainersHythe) -> None:
    """Out of a container to the host's address, and in by a published port."""
    with listening(host_address(), socket.SOCK_DGRAM) as (port, received):
        send = f"import socket; socket.socket(2, 2).sendto(b'hi', ('{host_address()}', {port}))"
        hythe_box.ok("run", "--rm", *with_python(), "-c", send)
        wait_until(lambda: received == [b"hi"])
    echo = "import socket\ns = socket.socket(2, 2)\ns.bind(('', 69))\nwhile True: s.sendto(b'pong', s.recvfrom(9)[1])"
    hythe_box.ok("run", "-d", "--name", "udp", "-p", "69/udp", *with_python(), "-c", echo)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.3)
        answer, outside = b"", port_of(hythe_box, "udp")
        for _ in range(30):
            client.sendto(b"ping", (host_address(), outside))
            with contextlib.suppress(TimeoutError, ConnectionError):
                answer = client.recv(100)
                break
    assert answer == b"pong"


def test_names_are_resolved(hythe: ContainersHythe) -> None:
    """By the host's DNS servers, or those that were chosen; the container's own names are in its hosts file."""
    shown = hythe.ok("run", "--rm", "--name", "named", "-h", "myself", "box", "cat", "/etc/hosts", "/etc/resolv.conf")
    servers = [line.split()[1] for line in shown.splitlines() if line.startswith("nameserver")]

    assert "10.0.2.100\tmyself named" in shown
    assert not any(server.startswith("127.") or ":" in server for server in servers)
    chosen = hythe.ok(
        "run",
        "--rm",
        "--dns",
        "192.0.2.53",
        "--add-host",
        "here:host-gateway",
        "box",
        "cat",
        "/etc/resolv.conf",
        "/etc/hosts",
    )
    assert chosen.startswith("nameserver 192.0.2.53\n")
    assert f"{host_address()}\there" in chosen


def test_the_helper_lives_as_long_as_the_container(hythe_box: ContainersHythe) -> None:
    """Also if its supervisor is killed; stopping and removing leave nothing, and a restart publishes again."""
    before = set(helpers())
    hythe_box.ok("run", "-d", "--name", "web", "-p", "127.0.0.1::80", "box", "sh", "-c", SERVE.format("hello", 80))
    port, process = port_of(hythe_box, "web"), int(hythe_box.ok("inspect", "-f", "{{.State.Pid}}", "web"))
    parent = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGKILL)
    time.sleep(0.2)
    assert fetch("127.0.0.1", port) == "hello"

    hythe_box.ok("stop", "-t", "0", "web")
    wait_until(lambda: set(helpers()) <= before)
    hythe_box.ok("start", "web")
    assert fetch("127.0.0.1", port_of(hythe_box, "web")) == "hello"
    hythe_box.ok("stop", "-t", "0", "web")
    wait_until(lambda: set(helpers()) <= before)
    hythe_box.ok("start", "web")
    hythe_box.ok("rm", "-f", "web")
    wait_until(lambda: set(helpers()) <= before)


def test_a_foreground_container_whose_client_is_killed(hythe_box: ContainersHythe) -> None:
    """It runs on with its network, which ends with it."""
    before = set(helpers())
    words = [*hythe_box.command, "run", "--rm", "--name", "front", "-p", "127.0.0.1::80", "box", "sh", "-c"]
    client = subprocess.Popen([*words, SERVE.format("front", 80)], env=hythe_box.env, stdout=subprocess.PIPE)
    wait_until(lambda: "->" in hythe_box.ok("ps", "--format", "{{.Ports}}"))
    client.kill()
    client.wait()
    assert client.stdout is not None

    assert fetch("127.0.0.1", port_of(hythe_box, "front")) == "front"
    hythe_box.ok("rm", "-f", "front")
    wait_until(lambda: set(helpers()) <= before)
    client.stdout.close()


def test_a_missing_helper_is_named(hythe_box: ContainersHythe, tmp_path: Path) -> None:
    """With the command that installs it, and the networks that do without."""
    for name in ("crun", "runc", "rm"):
        found = next(
            (Path(folder, name) for folder in ("/usr/bin", "/usr/sbin", "/bin") if Path(folder, name).exists()), None
        )
        if found:
            (tmp_path / name).symlink_to(found)
    hythe_box.env["PATH"] = str(tmp_path)
    done = hythe_box.run("run", "--rm", "box", "true")

    assert done.returncode == 125
    assert "slirp4netns, which is not installed" in done.stderr
    assert "apt install slirp4netns" in done.stderr
    assert "--network host" in done.stderr
    assert hythe_box.run("run", "--rm", "--network", "none", "box", "true").returncode == 0
