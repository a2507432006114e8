"""hythe behind a proxy set by the usual environment variables."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Callable, Iterator

import pytest
from tests.parts.base_images import Layout
from tests.parts.docker_registry import Certificate, DockerRegistry
from tests.parts.faulty_proxy import FaultyProxy
from tests.parts.hythe_client import HytheClient

pytestmark = pytest.mark.clients

HOST = "registry.test:5000"
"""A host name that only the proxy resolves."""


def test_plain_http_goes_through_the_proxy(
    hythe: HytheClient,
    docker_registry: DockerRegistry,
    start_faulty_proxy: Callable[[str], FaultyProxy],
    busybox_layout: Layout,
) -> None:
    """Requests contain the absolute URL. hythe connects directly to hosts in NO_PROXY, which fails here."""
    proxy = start_faulty_proxy(docker_registry.url)
    hythe.env["HTTP_PROXY"] = proxy.url
    copy = ["copy", "-q", "--plain-http", f"oci:{busybox_layout.folder}", f"{HOST}/box"]
    hythe.ok(*copy)
    hythe.env["NO_PROXY"] = "registry.test"
    direct = hythe.run(*copy)

    assert proxy.requests[0].startswith(f"HEAD http://{HOST}/v2/box/")
    assert direct.returncode == 5


@pytest.fixture
def tunnel() -> Iterator[Callable[[str], tuple[str, list[str]]]]:
    """Factory: a proxy whose CONNECT tunnels all lead to one address; returns its URL and the requested targets."""
    servers: list[socketserver.ThreadingTCPServer] = []

    def start(upstream: str) -> tuple[str, list[str]]:
        targets: list[str] = []

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                targets.append(self.rfile.readline().decode().strip())
                while self.rfile.readline().strip():
                    """Header fields."""
                host, _, port = upstream.rpartition(":")
                with socket.create_connection((host, int(port))) as server_socket:
                    self.request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    back = threading.Thread(target=pump, args=(server_socket, self.request), daemon=True)
                    back.start()
                    pump(self.request, server_socket)
                    back.join(5)

        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}", targets

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def pump(source: socket.socket, target: socket.socket) -> None:
    """Copy bytes until either side closes."""
    try:
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


def test_tls_goes_through_a_tunnel(
    hythe: HytheClient,
    start_docker_registry: Callable[..., DockerRegistry],
    certificate: Certificate,
    tunnel: Callable[[str], tuple[str, list[str]]],
) -> None:
    """hythe uses CONNECT, and verifies the server's certificate for the requested name."""
    registry = start_docker_registry(certificate=certificate)
    url, targets = tunnel(registry.host)
    hythe.env["HTTPS_PROXY"] = url
    hythe.ok("config", "set", "certificate-authorities", str(certificate.ca))
    refused = hythe.run("tags", f"{HOST}/box")

    assert targets[0] == f"CONNECT {HOST} HTTP/1.1"
    assert refused.returncode == 5
    assert "certificate is not valid for 'registry.test'" in refused.stderr
