"""HTTP/1.1 as bytes: valid and invalid responses."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from hythe.client.http1 import HTTP1Connection, InvalidResponse


class Server:
    """The other end of a connection, whose bytes the test writes."""

    def __init__(self) -> None:
        ours, self.theirs = socket.socketpair()
        ours.settimeout(10)
        self.wire = HTTP1Connection(ours)

    def sends(self, content: bytes, *, end: bool = True) -> HTTP1Connection:
        """Let the server send these bytes and close; returns the client's end."""
        self.theirs.sendall(content)
        if end:
            self.theirs.shutdown(socket.SHUT_WR)
        return self.wire


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.wire.close()
    server.theirs.close()


def read_all(wire: HTTP1Connection, method: str = "GET") -> bytes:
    body = wire.body(method, wire.read_response_head())
    content, piece = b"", memoryview(bytearray(3))
    while count := body.readinto(piece):
        content += piece[:count]
    assert body.ended
    return content


@pytest.mark.parametrize(
    ("sent", "method", "content"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "GET", b"hello"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhellomore", "GET", b"hello"),
        (b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", "GET", b"hello"),
        (b"HTTP/1.1 200\r\ncontent-length:5\r\n\r\nhello", "GET", b"hello"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD", b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "PUT", b""),
        (b"HTTP/1.1 200 OK\r\n\r\nup to the end", "GET", b"up to the end"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: t\r\n\r\n",
            "GET",
            b"hello world",
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "GET", b"ok"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "GET", b""),
    ],
)
def test_the_end_of_bodies(server: Server, sent: bytes, method: str, content: bytes) -> None:
    """RFC 9112, section 6.3: length, chunks, end of the connection, and responses without a body."""
    assert read_all(server.sends(sent), method) == content


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"\x15\x03\x01\x00\x02\x02P",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 300 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + (b"A: " + b"b" * 2000 + b"\r\n") * 70 + b"\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000,
        b"HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1_0\r\n0123456789abcdef\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;" + b"x" * 5000 + b"\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: b\r\n" * 1000 + b"\r\n",
    ],
)
def test_invalid_and_truncated_responses(server: Server, sent: bytes) -> None:
    """A truncated body is never returned as complete, and neither headers nor trailers are endless."""
    with pytest.raises(InvalidResponse):
        read_all(server.sends(sent))


@pytest.mark.parametrize(
    ("head", "stays"),
    [
        (b"HTTP/1.1 200 OK\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n", False),
        (b"HTTP/1.0 200 OK\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", True),
    ],
)
def test_whether_a_connection_can_be_reused(server: Server, head: bytes, stays: bool) -> None:
    """RFC 9112, section 9.3."""
    assert server.sends(head + b"\r\n").read_response_head().keep_alive is stays


def test_several_fields_of_one_name_are_joined(server: Server) -> None:
    """Names are case-insensitive; several challenges become one list."""
    sent = b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\nWww-authenticate: Bearer realm=x\r\n\r\n"

    assert server.sends(sent).read_response_head().headers == {"www-authenticate": "Basic, Bearer realm=x"}


def test_sending_a_request(server: Server) -> None:
    """A line break in a header, which would start another one, is refused."""
    server.wire.send_request_head("GET", "/v2/", {"Host": "h", "Accept": "a"})

    assert server.theirs.recv(1000) == b"GET /v2/ HTTP/1.1\r\nHost: h\r\nAccept: a\r\n\r\n"
    with pytest.raises(InvalidResponse):
        server.wire.send_request_head("GET", "/v2/", {"Host": "h\r\nX: y"})
