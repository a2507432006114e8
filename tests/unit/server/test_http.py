"""The HTTP server: files sent by the kernel, silences that end, and a clean stop."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"

SIZE = 24 * 1024 * 1024 + 17

Start = Callable[..., "Running"]


class Running:
    """A server process and the port that it listens on."""

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
    """Read until the other side closes in order; raises ConnectionError when it does so before SIZE bytes."""
    received = 0
    while piece := client.recv(65536):
        received += len(piece)
    if received < SIZE:
        raise ConnectionResetError
    return received


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start servers with the limits that a test wants."""
    processes: list[subprocess.Popen[str]] = []

    def begin(
        idle: int = 20,
        stall: int = 20,
        stop: int = 20,
        files: int | None = None,
        host: str = "127.0.0.1",
        proxies: str = "",
    ) -> Running:
        script = str(Path(__file__).with_name("file_server.py"))
        words = [sys.executable, script, str(tmp_path), str(idle), str(stall), str(stop), host, proxies]
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


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    """The bytes of the file ``/large``."""
    data = os.urandom(SIZE)
    (tmp_path / "large").write_bytes(data)
    return data


def test_a_file_arrives_whole(start: Start, content: bytes) -> None:
    """A large file is sent byte for byte."""
    server = start()

    assert server.get("/large") == content


@pytest.mark.parametrize(("first", "end"), [(0, 1), (5, 60_000), (SIZE - 3, SIZE), (1_000_000, SIZE - 1)])
def test_a_part_of_a_file_arrives(start: Start, content: bytes, first: int, end: int) -> None:
    """``start`` and ``stop`` choose the bytes, for small parts and large ones."""
    server = start()

    assert server.get(f"/large?{first}-{end}") == content[first:end]


def test_one_connection_takes_files_and_answers_in_turn(start: Start, content: bytes) -> None:
    """After a file the connection goes on."""
    server = start()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)

    for _ in range(3):
        connection.request("GET", "/large")
        assert connection.getresponse().read() == content
        connection.request("PUT", "/x", body=b"12345")
        assert connection.getresponse().read() == b"5"


def test_a_file_that_is_too_short_ends_the_connection(start: Start, content: bytes) -> None:
    """Bytes that are not there are never made up, nor waited for."""
    server = start()

    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        server.get(f"/large?0-{SIZE + 10}")


def test_a_file_that_is_gone_ends_the_connection(start: Start, content: bytes) -> None:
    """Between the answer's head and its body a file may go: the client sees the connection end, and others go on."""
    server = start()

    with pytest.raises((http.client.HTTPException, ConnectionError)):
        server.get("/absent?0-1000000")

    assert server.get("/large") == content


def test_the_limit_of_open_files_is_raised(start: Start, content: bytes) -> None:
    """With the limit that a shell gives, a thousand connections would be too many."""
    server = start(files=64)
    waiting = [server.connect() for _ in range(100)]

    assert server.get("/large") == content
    for client in waiting:
        client.close()


def test_slow_clients_do_not_keep_others_waiting(start: Start, content: bytes) -> None:
    """Two hundred clients that read nothing hold neither threads nor the loop."""
    server = start()
    slow = [server.connect() for _ in range(200)]
    for client in slow:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")

    assert server.get("/large") == content
    for client in slow:
        client.close()


def test_a_stalled_download_is_cut(start: Start, content: bytes) -> None:
    """A client that takes no byte for ``stall_timeout`` loses its connection."""
    server = start(stall=1)
    client = server.connect()
    client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    time.sleep(3)

    with pytest.raises(ConnectionError):
        read_to_the_end(client)


@pytest.mark.parametrize("path", ["/large", "/endless"])
def test_a_crawling_download_is_not_cut(start: Start, content: bytes, path: str) -> None:
    """While the client takes some bytes now and then it is waited for, though the socket takes no more meanwhile."""
    server = start(stall=3)
    client = server.connect()
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    for _ in range(50):
        client.recv(32768)
        time.sleep(0.2)

    rest = 0
    while rest < SIZE // 2 and (piece := client.recv(1024 * 1024)):
        rest += len(piece)
    assert rest >= SIZE // 2


@pytest.mark.parametrize("waits", [False, True])
def test_nothing_is_made_for_a_client_that_is_gone(start: Start, waits: bool) -> None:
    """A body without end ends when the client hangs up, or takes nothing for ``stall_timeout``."""
    server = start(stall=1)
    client = server.connect()
    client.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
    client.recv(1024)
    if not waits:
        client.close()

    assert server.output.readline() == "gone\n"


def test_a_stalled_upload_is_a_disconnect(start: Start) -> None:
    """An upload that stops moving reaches the application as http.disconnect."""
    server = start(stall=1)
    client = server.connect()
    client.sendall(b"PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123")

    assert server.output.readline() == "disconnect after 3\n"
    assert client.recv(1) == b""


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n"])
def test_an_unfinished_head_ends_the_connection(start: Start, sent: bytes) -> None:
    """A connection that sends no whole head within ``idle_timeout`` is closed."""
    server = start(idle=1)
    client = server.connect()
    client.sendall(sent)

    assert client.recv(1) == b""


def test_sigterm_lets_a_running_transfer_end(start: Start, content: bytes) -> None:
    """SIGTERM in the middle of a download: it arrives whole, and the exit code is 0."""
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
    """After ``stop_timeout`` a transfer is cut, and the exit code is 0 all the same."""
    server = start(stop=1)
    client = server.connect()
    client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    client.recv(1024)
    server.process.send_signal(signal.SIGTERM)

    assert server.process.wait(20) == 0


FORWARDED = {"X-Forwarded-For": "6.6.6.6, 192.0.2.7", "X-Forwarded-Proto": "https"}


@pytest.mark.parametrize("proxies", ["127.0.0.0/8", "10.0.0.1 127.0.0.1"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::"])
def test_a_proxy_that_is_trusted_says_who_asks(start: Start, host: str, proxies: str) -> None:
    """What it says last is believed, and nothing that the client itself wrote before; also where IPv6 listens, too."""
    server = start(host=host, proxies=proxies)

    assert server.get("/client", FORWARDED) == b"https 192.0.2.7"


@pytest.mark.parametrize("proxies", ["", "10.0.0.0/8"])
def test_others_cannot_pretend_to_be_somebody(start: Start, proxies: str) -> None:
    """Without the setting, and from elsewhere, the headers are a client's own words: they are ignored."""
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
def test_a_head_without_an_end_is_refused(start: Start, first: bytes, piece: bytes) -> None:
    """Nobody fills the server's memory with what comes before a request can be looked at."""
    server = start()
    client = server.connect()

    answer = b""
    client.sendall(first)
    with contextlib.suppress(ConnectionError):
        for _ in range(100_000):
            client.sendall(piece)
    with contextlib.suppress(ConnectionError):
        answer = client.recv(1000)

    assert answer in (b"", TOO_LARGE)
    assert server.get("/client") == b"http 127.0.0.1"


def test_a_large_head_is_taken(start: Start) -> None:
    """Long tokens are nothing to be afraid of; nor is a large body that stands before the next head."""
    server = start()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)

    for _ in range(3):
        connection.request("PUT", "/x", body=b"1" * 5_000_000, headers={"X": "a" * 60_000})
        assert connection.getresponse().read() == b"5000000"
