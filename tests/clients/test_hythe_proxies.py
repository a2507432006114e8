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

from hythe.client import ClientError, Registry
from hythe.client.client import Client
from hythe.client.errors import Unreachable
from hythe.client.retry import RetryPolicy

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


@pytest.fixture
def refusing() -> Iterator[Callable[[bytes], str]]:
    """Factory: a proxy that responds to every request with these bytes, and closes; returns its HOST:PORT."""
    servers: list[socketserver.ThreadingTCPServer] = []

    def start(response: bytes) -> str:
        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while self.rfile.readline().strip():
                    """The request's head."""
                self.wfile.write(response)

        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return f"127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


FAST = RetryPolicy(attempts=2, first_delay=0.01, max_delay=0.01)


@pytest.mark.parametrize(
    ("response", "words", "hint"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "refuses to connect to registry.test:5000: 403 Forbidden", "NO_PROXY"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "refuses to connect to registry.test:5000: 502 Bad Gateway", "NO_PROXY"),
        (b"HTTP/1.1 599\r\n\r\n", "refuses to connect to registry.test:5000: 599", "NO_PROXY=registry.test hythe"),
        (b"HTTP/1.1 407 x\r\n\r\n", "407 Proxy Authentication Required", "write http://USER:PASSWORD@HOST:PORT in"),
        (
            b"SSH-2.0-OpenSSH\r\n",
            "cannot connect to registry.test:5000 through the proxy http://127.0.0.1:",
            "NO_PROXY",
        ),
        (b"", "the connection was closed", "NO_PROXY"),
    ],
)
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "all_proxy"])
def test_a_proxy_that_refuses_a_tunnel_is_named(
    refusing: Callable[[bytes], str],
    monkeypatch: pytest.MonkeyPatch,
    response: bytes,
    words: str,
    hint: str,
    variable: str,
) -> None:
    """The error is the proxy's, with the variable that sets it, never the registry's."""
    proxy = refusing(response)
    monkeypatch.setenv(variable, f"http://{proxy}")
    with Registry(HOST, client=Client(policy=FAST)) as registry, pytest.raises(Unreachable) as caught:
        registry.tags("ann/box")

    assert words in str(caught.value)
    assert f"the proxy http://{proxy} ({variable})" in str(caught.value)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("address", "words"),
    [("proxy.invalid:3128", "through the proxy http://proxy.invalid:3128"), ("127.0.0.1:1", "refused")],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_does_not_respond_is_named(
    monkeypatch: pytest.MonkeyPatch, address: str, words: str, scheme: str
) -> None:
    """A name that does not resolve, a closed port."""
    monkeypatch.setenv(f"{scheme.upper()}_PROXY", f"http://ann:secret@{address}")
    client = Client(policy=FAST, plain_http=(HOST,) if scheme == "http" else ())
    with Registry(HOST, client=client) as registry, pytest.raises(Unreachable, match=words) as caught:
        registry.tags("ann/box")

    assert f"({scheme.upper()}_PROXY)" in str(caught.value)
    assert "NO_PROXY=registry.test" in caught.value.hint
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("status", [403, 407, 502])
def test_a_proxy_that_refuses_plain_http_is_named(
    refusing: Callable[[bytes], str], monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """407 is the proxy's own; others may be the registry's, but the hint names the proxy."""
    page = b"<html>blocked</html>"
    proxy = refusing(b"HTTP/1.1 %d x\r\nContent-Length: %d\r\n\r\n%b" % (status, len(page), page))
    monkeypatch.setenv("http_proxy", f"http://{proxy}")
    client = Client(policy=FAST, plain_http=(HOST,))
    with Registry(HOST, client=client) as registry, pytest.raises(ClientError) as caught:
        registry.tags("ann/box")

    assert f"the proxy http://{proxy} (http_proxy)" in f"{caught.value} {caught.value.hint}"


def test_the_command_names_the_proxy(hythe: HytheClient) -> None:
    """With exit code 5."""
    hythe.env["HTTPS_PROXY"] = "http://127.0.0.1:1"
    refused = hythe.run("login", "-u", "ann", "--password-stdin", HOST, stdin="secret")

    assert refused.returncode == 5
    assert (
        "error: cannot connect to registry.test:5000 through the proxy http://127.0.0.1:1 (HTTPS_PROXY)"
        in refused.stderr
    )
    assert "hint: check HTTPS_PROXY; with NO_PROXY=registry.test hythe connects directly" in refused.stderr
