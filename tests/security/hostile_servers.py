"""Servers that builds name and that hold on to everyone who asks them: registries, token servers and git servers."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PAUSE = 0.2
"""Seconds between two bytes of a server that is slow."""
Answer = Callable[[socket.socket, str], None]


def _trickle(connection: socket.socket, content: bytes) -> None:
    while True:
        for number in range(len(content)):
            connection.sendall(content[number : number + 1])
            time.sleep(PAUSE)


def slow_body(connection: socket.socket, _own: str) -> None:
    """Send a body byte by byte."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    _trickle(connection, b"{")


def slow_headers(connection: socket.socket, _own: str) -> None:
    """Send headers byte by byte, which takes hours."""
    _trickle(connection, b"HTTP/1.1 200 OK\r\nX: " + b"x" * 60_000)


def silent(connection: socket.socket, _own: str) -> None:
    """Accept, and say nothing."""
    time.sleep(300)


def token(connection: socket.socket, own: str) -> None:
    """Name a token server that never answers."""
    challenge = f'Bearer realm="http://{own}/silent/token",service="x"'
    connection.sendall(f"HTTP/1.1 401 No\r\nWWW-Authenticate: {challenge}\r\nContent-Length: 0\r\n\r\n".encode())


def slow_chunks(connection: socket.socket, _own: str) -> None:
    """Send chunks of one byte, without end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    _trickle(connection, b"1\r\nx\r\n")


def endless(connection: socket.socket, _own: str) -> None:
    """Send chunks as fast as possible, without end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"10000\r\n" + bytes(65536) + b"\r\n")


def early_hints(connection: socket.socket, _own: str) -> None:
    """Send informational responses as fast as possible, without end."""
    while True:
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 100)


def loop(connection: socket.socket, own: str) -> None:
    """Redirect to the same place."""
    connection.sendall(
        f"HTTP/1.1 307 Again\r\nLocation: http://{own}/v2/loop/app/manifests/1\r\nContent-Length: 0\r\n\r\n".encode()
    )


def bomb(connection: socket.socket, _own: str) -> None:
    """Send a manifest of 15 MB, which is many times larger once it is parsed."""
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": "sha256:" + "0" * 64, "size": 1}
    config = layer | {"mediaType": "application/vnd.oci.image.config.v1+json"}
    one = json.dumps(layer).encode()
    head = json.dumps({"schemaVersion": 2, "config": config})[:-1].encode() + b', "layers": ['
    body = head + b",".join([one] * (15_000_000 // len(one))) + b"]}"
    kind = b"application/vnd.oci.image.manifest.v1+json"
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n" % (kind, len(body)))
    connection.sendall(body)


def large_error(connection: socket.socket, _own: str) -> None:
    """Send an error whose text has 15 MB."""
    body = json.dumps({"errors": [{"code": "DENIED", "message": "x" * 15_000_000}]}).encode()
    connection.sendall(b"HTTP/1.1 403 No\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


ANSWERS: dict[str, Answer] = {
    answer.__name__.replace("_", "-"): answer
    for answer in (
        *(slow_body, slow_headers, silent, token, slow_chunks),
        *(endless, early_hints, loop, bomb, large_error),
    )
}


@contextmanager
def running_hostile_server() -> Iterator[str]:
    """Run a server whose answer the path names, as in /v2/slow-body/app/manifests/1; yield its HOST:PORT."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        own = f"127.0.0.1:{listener.getsockname()[1]}"

        def serve(connection: socket.socket) -> None:
            with connection:
                try:
                    request = connection.recv(65536).decode(errors="replace")
                    words = request.partition(" ")[2].partition(" ")[0].split("/")
                    next((ANSWERS[word] for word in words if word in ANSWERS), silent)(connection, own)
                except OSError:
                    return

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield own
        listener.shutdown(socket.SHUT_RDWR)
