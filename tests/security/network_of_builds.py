"""A network around a worker, made of namespaces: a LAN with a host, a bridge such as docker0, and a public server."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

PORT = 18080
OTHER_PORT = 18081
SERVER = """
import http.server, socketserver, sys, threading
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"internal secret")
    def log_message(self, *arguments):
        pass
class Server(socketserver.ThreadingTCPServer):  # http.server would look up the name of each address
    allow_reuse_address = True
for text in sys.argv[1:]:
    host, _, port = text.rpartition(":")
    threading.Thread(target=Server((host, int(port)), Handler).serve_forever).start()
print("ready", flush=True)
"""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Addresses that answer HTTP requests on PORT and OTHER_PORT."""

    lan: str
    """A host of the worker's LAN."""
    lan_network: str
    own: str
    """The worker's own address in the LAN."""
    own_public: str
    """A public address of the worker."""
    bridge: str
    """The worker's address on a bridge."""
    public: str
    """A server on the public internet."""

    @property
    def internal(self) -> tuple[str, ...]:
        """What builds must not reach by default."""
        return (self.lan, self.own, self.own_public, self.bridge)


def ip(*arguments: str, inside: tuple[str, ...] = ()) -> None:
    """Run ``ip``, perhaps by a command that enters a namespace."""
    subprocess.run([*inside, "ip", *arguments], check=True, capture_output=True)


@contextmanager
def network_namespace() -> Iterator[int]:
    """Yield the id of a process in a network namespace of its own."""
    holder = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo ready; exec sleep infinity"], stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        yield holder.pid
    finally:
        holder.kill()
        holder.wait()


@contextmanager
def running_surroundings() -> Iterator[Surroundings]:
    """Set up the network; names and addresses contain the process id, so that several can exist."""
    number = os.getpid() % 200 + 20
    there = Surroundings(
        lan=f"10.{number}.66.2",
        lan_network=f"10.{number}.66.0/24",
        own=f"10.{number}.66.1",
        own_public=f"9.9.{number}.1",
        bridge=f"172.29.{number}.1",
        public=f"9.9.{number}.2",
    )
    veth, bridge = f"veth{number}", f"br{number}"
    with ExitStack() as stack:
        namespace = stack.enter_context(network_namespace())
        inside = ("nsenter", f"--net=/proc/{namespace}/ns/net")
        ip("link", "add", veth, "type", "veth", "peer", "name", "eth0", "netns", str(namespace))
        ip("link", "add", bridge, "type", "bridge")
        stack.callback(ip, "link", "delete", bridge)
        ip("address", "add", f"{there.bridge}/24", "dev", bridge)
        ip("address", "add", f"{there.own}/24", "dev", veth)
        ip("address", "add", f"{there.own_public}/32", "dev", veth)
        ip("link", "set", bridge, "up")
        ip("link", "set", veth, "up")
        ip("route", "add", f"{there.public}/32", "dev", veth)
        for command in (
            ("address", "add", f"{there.lan}/24", "dev", "eth0"),
            ("address", "add", f"{there.public}/32", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("route", "add", "default", "via", there.own),
        ):
            ip(*command, inside=inside)
        ports = (PORT, OTHER_PORT)
        here = [f"{address}:{port}" for address in (there.own, there.own_public, there.bridge) for port in ports]
        remote = [f"{address}:{port}" for address in (there.lan, there.public) for port in ports]
        for command_line in (
            ["python3", "-c", SERVER, *here],
            [*inside, "python3", "-c", SERVER, *remote],
        ):
            server = subprocess.Popen(command_line, stdout=subprocess.PIPE)
            stack.callback(server.wait)
            stack.callback(server.kill)
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
        time.sleep(0.05)
        yield there
