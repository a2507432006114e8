"""The least rate of transfers: slow servers are given up, in every part of a request; others are not."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hythe.client.connection import BytesBody, ConnectionFailed, ConnectionPool
from hythe.client.http1 import HTTP1Connection
from hythe.client.tls_and_proxy import TLSOptions
from hythe.client.transfer_rate import TransferRate

RATE = TransferRate(10_000, window=0.6)
BODY = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
Serve = Callable[[socket.socket], None]


@contextmanager
def server(serve: Serve) -> Iterator[str]:
    """Run a server that passes each connection to ``serve``; yield its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=run, args=(connection,), daemon=True).start()

        def run(connection: socket.socket) -> None:
            try:
                serve(connection)
            except OSError:
                pass
            finally:
                connection.close()

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        listener.shutdown(socket.SHUT_RDWR)


def trickle(start: bytes, rest: bytes, pause: float = 0.05) -> Serve:
    """Send ``start`` at once, then ``rest`` byte by byte, without end."""

    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(start)
        while True:
            for number in range(len(rest)):
                connection.sendall(rest[number : number + 1])
                time.sleep(pause)

    return serve


def deaf(connection: socket.socket) -> None:
    """Read the headers of a request and almost nothing of its body."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    while connection.recv(1):
        time.sleep(0.05)


def stalled(connection: socket.socket) -> None:
    """Send a part of a body, quickly, and then nothing."""
    connection.recv(65536)
    connection.sendall(BODY + bytes(4000))
    time.sleep(30)


class FileBody:
    """A body that is sent with sendfile."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size = path.stat().st_size

    def write_to(self, connection: HTTP1Connection) -> None:
        """Send the file."""
        with self._path.open("rb") as file:
            assert connection.socket.sendfile(file, 0, self.size) == self.size


@pytest.mark.parametrize(
    ("serve", "said"),
    [
        pytest.param(trickle(BODY, b"x"), "sends less than 10 kB/s", id="in the body"),
        pytest.param(trickle(b"", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10**4), "sends less", id="in the headers"),
        pytest.param(trickle(CHUNKED, b"1\r\nx\r\n"), "sends less", id="in chunks"),
        pytest.param(trickle(CHUNKED, b"1;" + b"x" * 2000), "sends less", id="in a chunk's extension"),
        pytest.param(trickle(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "sends less", id="informational responses"),
        pytest.param(stalled, "sends less", id="stalls"),
    ],
)
def test_a_slow_server_is_given_up(serve: Serve, said: str) -> None:
    """Within about a window, with the server's name and without a retry."""
    with server(serve) as url:
        pool = ConnectionPool(TLSOptions(), transfer_rate=RATE)
        began = time.monotonic()
        with pytest.raises(ConnectionFailed, match=said) as raised, pool.send("GET", url, {}) as response:
            response.read()

    assert raised.value.permanent
    assert time.monotonic() - began < 5
    assert url.split("/")[2] in str(raised.value)


@pytest.mark.parametrize("kind", ["bytes", "file"])
def test_a_server_that_reads_slowly_is_given_up(kind: str, tmp_path: Path) -> None:
    """Uploads obey the rate, too, whether their content is in memory or in a file."""
    content = bytes(20 << 20)
    (tmp_path / "blob").write_bytes(content)
    body = BytesBody(content) if kind == "bytes" else FileBody(tmp_path / "blob")
    with server(deaf) as url:
        pool = ConnectionPool(TLSOptions(), transfer_rate=RATE)
        began = time.monotonic()
        with pytest.raises(ConnectionFailed, match="receives less than 10 kB/s"):
            pool.send("PUT", url, {}, body)

    assert time.monotonic() - began < 10


def test_other_servers_are_not(tmp_path: Path) -> None:
    """A response that begins late, a slow but sufficient one, and a slow reader on this side are fine."""

    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        time.sleep(1)
        connection.sendall(BODY)
        for _ in range(100):
            connection.sendall(bytes(10_000))
            time.sleep(0.01)

    with server(serve) as url:
        pool = ConnectionPool(TLSOptions(), transfer_rate=RATE)
        with pool.send("GET", url, {}) as response:
            time.sleep(1)
            assert len(response.read().body) == 1_000_000


def test_the_rate_is_off_for_people() -> None:
    """Without a rate, a slow server is read to the end."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n"
    with server(trickle(head, b"x")) as url, ConnectionPool(TLSOptions()).send("GET", url, {}) as response:
        assert response.read().body == b"x" * 20
