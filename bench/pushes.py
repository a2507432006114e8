"""Pushes of small blobs on plain sockets, which leave the cores to the server."""

from __future__ import annotations

import hashlib
import os
import re
import socket
from collections.abc import Generator, Mapping


def push_small_blobs(
    port: int, repository: str, headers: Mapping[str, str] | None = None
) -> Generator[None, None, None]:
    """Push random blobs of 4 KiB over one connection, one each time that the caller asks for the next."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        while True:
            _push(connection, repository, os.urandom(4096), headers or {})
            yield


def _push(connection: socket.socket, repository: str, content: bytes, headers: Mapping[str, str]) -> None:
    """Push a blob with POST and PUT."""
    head = _exchange(connection, "POST", f"/v2/{repository}/blobs/uploads/", b"", headers, 202)
    found = re.search(r"(?im)^location: (?:https?://[^/]+)?(/\S+)", head)
    if found is None:
        raise RuntimeError(head)
    query = f"{'&' if '?' in found[1] else '?'}digest=sha256:{hashlib.sha256(content).hexdigest()}"
    _exchange(connection, "PUT", found[1] + query, content, headers, 201)


def _exchange(
    connection: socket.socket, method: str, path: str, body: bytes, headers: Mapping[str, str], status: int
) -> str:
    """Send a request, check the status of its response, which has no body, and return the response's head."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    text = response_head(connection)
    if not text.startswith(f"HTTP/1.1 {status} "):
        raise RuntimeError(text)
    return text


def response_head(connection: socket.socket) -> str:
    """Read a response without a body."""
    response = b""
    while not response.endswith(b"\r\n\r\n"):
        piece = connection.recv(65536)
        if not piece:
            raise RuntimeError("the server closed the connection")
        response += piece
    return response.decode("latin-1")
