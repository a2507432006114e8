"""The HTTP server: sendfile, idle timeouts, and a clean stop."""

import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from tests.parts.docker_registry import Certificate

TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"

SIZE = 24 * 1024 * 1024 + 17

Start = Callable[..., "Running"]


class Running:
    """A server process and its port."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        self.process = process
        self.output = process.stdout
        self.port = int(self.output.readline())

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request("GET", path, headers=dict(headers or {}))
        return connection.getresponse().read()


def read_to_the_end(client: socket.socket) -> int:
    """Read until the server closes the connection; raise ConnectionError if that is before SIZE bytes."""
    received = 0
    while piece := client.recv(65536):
        received += len(piece)
    if received < SIZE:
        raise ConnectionResetError
    return received


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder whose files the servers of this module send."""
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def start_for_module(folder: Path) -> Iterator[Start]:
    """Factory of servers that run until the end of the module."""
    with starting(folder) as start:
        yield start


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Factory of servers with the limits that a test needs."""
    with starting(folder) as start:
        yield start


@pytest.fixture(scope="module")
def server(start_for_module: Start) -> Running:
    """A server with long timeouts, shared by the tests that do not stop it."""
    running: Running = start_for_module()
    return running


@contextlib.contextmanager
def starting(folder: Path) -> Iterator[Start]:
    """Factory of servers; they are killed when the block ends."""
    processes: list[subprocess.Popen[str]] = []

    def begin(
        idle: int = 20,
        stall: int = 20,
        stop: int = 20,
        files: int | None = None,
        host: str = "127.0.0.1",
        proxies: str = "",
        certificate: Certificate | None = None,
        **more: int,
    ) -> Running:
        script = str(Path(__file__).with_name("file_server.py"))
        words = [sys.executable, script, str(folder), str(idle), str(stall), str(stop), host, proxies, json.dumps(more)]
        if certificate is not None:
            words += [str(certificate.cert), str(certificate.key)]
        if files is not None:
            words = ["prlimit", f"--nofile={files}:", *words]
        processes.append(subprocess.Popen(words, stdout=subprocess.PIPE, text=True))
        return Running(processes[-1])

    yield begin
    for process in processes:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture(scope="module")
def content(folder: Path) -> bytes:
    """The bytes of the file ``/large``."""
    data = os.urandom(SIZE)
    (folder / "large").write_bytes(data)
    return data


def test_a_file_arrives_whole(server: Running, content: bytes) -> None:
    """A large file is sent byte for byte."""
    assert server.get("/large") == content


@pytest.mark.parametrize(("first", "end"), [(0, 1), (5, 60_000), (SIZE - 3, SIZE), (1_000_000, SIZE - 1)])
def test_a_range_of_a_file_arrives(server: Running, content: bytes, first: int, end: int) -> None:
    """``start`` and ``stop`` select the bytes, for small and large ranges."""
    assert server.get(f"/large?{first}-{end}") == content[first:end]


def test_one_connection_sends_files_and_responses_in_turn(server: Running, content: bytes) -> None:
    """A connection stays usable after a file was sent."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)

    for _ in range(3):
        connection.request("GET", "/large")
        assert connection.getresponse().read() == content
        connection.request("PUT", "/x", body=b"12345")
        assert connection.getresponse().read() == b"5"


def test_a_file_that_is_too_short_ends_the_connection(server: Running, content: bytes) -> None:
    """Missing bytes are neither invented nor waited for."""
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        server.get(f"/large?0-{SIZE + 10}")


def test_a_deleted_file_ends_the_connection(server: Running, content: bytes) -> None:
    """If a file is deleted between headers and body, the connection ends; other clients are not affected."""
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        server.get("/absent?0-1000000")

    assert server.get("/large") == content


def test_the_limit_of_open_files_is_raised(start: Start, content: bytes) -> None:
    """The usual limit of a shell would not allow a thousand connections."""
    server = start(files=64)
    waiting = [server.connect() for _ in range(100)]

    assert server.get("/large") == content
    for client in waiting:
        client.close()


def test_slow_clients_do_not_keep_others_waiting(server: Running, content: bytes) -> None:
    """Two hundred clients that read nothing block neither threads nor the event loop."""
    slow = [server.connect() for _ in range(200)]
    for client in slow:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")

    assert server.get("/large") == content
    for client in slow:
        client.close()


def test_a_stalled_download_is_cut(start: Start, content: bytes) -> None:
    """A client that takes no byte for ``stall_timeout`` is disconnected."""
    server = start(stall=1)
    client = server.connect()
    client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    time.sleep(2.5)

    with pytest.raises(ConnectionError):
        read_to_the_end(client)


@pytest.mark.parametrize("path", ["/large", "/endless"])
def test_a_crawling_download_is_not_cut(start: Start, content: bytes, path: str) -> None:
    """A client that reads slowly is not disconnected, even while the socket is not writable for ``stall_timeout``."""
    server = start(stall=1)
    client = server.connect()
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    for _ in range(25):
        client.recv(32768)
        time.sleep(0.1)

    rest = 0
    while rest < SIZE // 2 and (piece := client.recv(1024 * 1024)):
        rest += len(piece)
    assert rest >= SIZE // 2


@pytest.mark.parametrize("waits", [False, True])
def test_an_endless_body_ends_with_its_client(start: Start, waits: bool) -> None:
    """An endless body ends when the client disconnects, or takes nothing for ``stall_timeout``."""
    server = start(stall=1)
    client = server.connect()
    client.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
    client.recv(1024)
    if not waits:
        client.close()

    assert server.output.readline() == "disconnected\n"


def test_a_stalled_upload_is_a_disconnect(start: Start) -> None:
    """An upload that stops moving reaches the application as http.disconnect."""
    server = start(stall=1)
    client = server.connect()
    client.sendall(b"PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123")

    assert server.output.readline() == "disconnect after 3\n"
    assert client.recv(1) == b""


def dribble(client: socket.socket, size: int, pause: float, seconds: float) -> float:
    """Send a body in pieces; return after how many seconds the server ended the connection, or 0 if it did not."""
    client.sendall(b"PUT /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
    begun = time.monotonic()
    with contextlib.suppress(ConnectionError):
        while time.monotonic() < begun + seconds:
            client.sendall(bytes(size))
            time.sleep(pause)
        return 0.0
    return time.monotonic() - begun


def test_an_upload_that_dribbles_is_cut(start: Start) -> None:
    """A client that sends a byte now and then would keep a connection and an upload for weeks."""
    server = start(stall=1, transfer_rate=1000)

    assert dribble(server.connect(), 1, 0.1, 20) > 0
    assert server.output.readline().startswith("disconnect after ")
    assert dribble(server.connect(), 2000, 0.1, 2.5) == 0


def status_of(client: socket.socket) -> bytes:
    """Send a request and return the first line and the headers of the response; nothing if there is none."""
    with contextlib.suppress(ConnectionError):
        client.sendall(b"GET /client HTTP/1.1\r\nHost: x\r\n\r\n")
        return client.recv(4096)
    return b""


def test_connections_over_the_limit_are_refused(start: Start) -> None:
    """They get 503 and the time to try again; far too many get nothing. One that ends makes room."""
    server = start(connections=2)
    served = [server.connect() for _ in "12"]
    assert all(status_of(each).startswith(b"HTTP/1.1 200") for each in served)

    refused = server.connect()
    response = status_of(refused)
    assert response.startswith(b"HTTP/1.1 503")
    assert b"\r\nretry-after: 5\r\n" in response
    assert b"connection: close" in response

    waiting = [server.connect() for _ in "12"]
    assert status_of(server.connect()) == b""
    for each in (*waiting, served.pop()):
        each.close()
    end = time.monotonic() + 20
    while not (answer := status_of(server.connect())).startswith(b"HTTP/1.1 200"):
        assert time.monotonic() < end, answer
        time.sleep(0.05)


def test_draining_serves_on_and_ends_connections(start: Start) -> None:
    """With ``drain_delay``, a response tells a proxy to open another connection; a second signal ends the server."""
    server = start(drain_delay=60)
    kept = server.connect()
    assert b"connection: close" not in status_of(kept)
    server.process.send_signal(signal.SIGTERM)

    end = time.monotonic() + 20
    while b"connection: close" not in (answer := status_of(server.connect())):
        assert answer.startswith(b"HTTP/1.1 200")
        assert time.monotonic() < end
    assert b"connection: close" in status_of(kept)
    assert server.process.poll() is None

    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(20) == 0


@pytest.mark.parametrize("connection", ["close", "keep-alive"])
def test_a_response_before_the_end_of_the_body_arrives(server: Running, connection: str) -> None:
    """A client that is still sending when it is refused can read why; the connection is not reset."""
    client = server.connect()
    client.sendall(f"POST /client HTTP/1.1\r\nHost: x\r\nConnection: {connection}\r\n".encode())
    client.sendall(b"Content-Length: 33554432\r\n\r\n")
    for _ in range(512):
        client.sendall(bytes(65536))

    assert client.recv(1024).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n"])
def test_incomplete_headers_end_the_connection(start_for_module: Start, sent: bytes) -> None:
    """A connection that does not send complete headers within ``idle_timeout`` is closed."""
    server = start_for_module(idle=1)
    client = server.connect()
    client.sendall(sent)

    assert client.recv(1) == b""


def test_sigterm_waits_for_a_running_transfer(start: Start, content: bytes) -> None:
    """After SIGTERM during a download, the file arrives whole and the exit code is 0."""
    server = start()
    client = server.connect()
    client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    first = client.recv(1024)
    server.process.send_signal(signal.SIGTERM)
    received = first
    while piece := client.recv(1 << 20):
        received += piece

    assert received.endswith(content)
    assert server.process.wait(20) == 0


def test_sigterm_cuts_what_takes_too_long(start: Start, content: bytes) -> None:
    """After ``stop_timeout`` a transfer is cut, and the exit code is still 0."""
    server = start(stop=1)
    client = server.connect()
    client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    client.recv(1024)
    server.process.send_signal(signal.SIGTERM)

    assert server.process.wait(20) == 0


def test_sigterm_closes_idle_connections(start: Start, content: bytes) -> None:
    """A keep-alive connection without a request does not delay the stop."""
    server = start()
    idle = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    idle.request("GET", "/client")
    assert idle.getresponse().read()
    server.process.send_signal(signal.SIGTERM)

    assert server.process.wait(5) == 0
    idle.close()


def test_sigterm_closes_idle_tls_connections(start: Start, certificate: Certificate) -> None:
    """The same with TLS, where an idle client does not respond to the closing handshake."""
    server = start(certificate=certificate)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    idle = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=20, context=context)
    idle.request("GET", "/client")
    assert idle.getresponse().read()
    server.process.send_signal(signal.SIGTERM)

    assert server.process.wait(5) == 0
    idle.close()


FORWARDED = {"X-Forwarded-For": "6.6.6.6, 192.0.2.7", "X-Forwarded-Proto": "https"}


@pytest.mark.parametrize("proxies", ["127.0.0.0/8", "10.0.0.1 127.0.0.1"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::"])
def test_a_trusted_proxy_names_the_client(start: Start, host: str, proxies: str) -> None:
    """The last entry is used, not what the client itself sent; also on a dual-stack socket."""
    server = start(host=host, proxies=proxies)

    assert server.get("/client", FORWARDED) == b"https 192.0.2.7"


@pytest.mark.parametrize("proxies", ["", "10.0.0.0/8"])
def test_forwarded_headers_of_other_clients_are_ignored(start: Start, proxies: str) -> None:
    """Without the setting, or from an address that it does not contain, the headers have no effect."""
    server = start(proxies=proxies)

    assert server.get("/client", FORWARDED) == b"http 127.0.0.1"


@pytest.mark.parametrize(
    ("first", "piece"),
    [
        (b"GET /", b"a" * 1000),
        (b"GET /client HTTP/1.1\r\nHost: x\r\nX: ", b"a" * 1000),
        (b"GET /client HTTP/1.1\r\nHost: x\r\n", b"X: " + b"a" * 995 + b"\r\n"),
    ],
    ids=["path", "header", "headers"],
)
def test_endless_headers_are_refused(server: Running, first: bytes, piece: bytes) -> None:
    """Headers that never end do not fill the memory."""
    client = server.connect()

    response = b""
    client.sendall(first)
    with contextlib.suppress(ConnectionError):
        for _ in range(100_000):
            client.sendall(piece)
    with contextlib.suppress(ConnectionError):
        response = client.recv(1000)

    assert response in (b"", TOO_LARGE)
    assert server.get("/client") == b"http 127.0.0.1"


def test_large_headers_are_accepted(server: Running) -> None:
    """Long tokens are accepted, also after a large body on the same connection."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)

    for _ in range(3):
        connection.request("PUT", "/x", body=b"1" * 5_000_000, headers={"X": "a" * 60_000})
        assert connection.getresponse().read() == b"5000000"
