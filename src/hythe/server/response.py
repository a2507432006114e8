"""Serialize a whole response, so that it is sent with one system call.

uvicorn sends headers and body with one call each, which takes a third of the time of a response from memory.
"""

from collections.abc import Iterable, Sequence
from http import HTTPStatus

MAX_COPIED_BODY = 64 * 1024
"""Bytes; a longer body is not copied behind its headers."""

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}

Header = tuple[bytes, bytes]


def announced_length(headers: Iterable[Header]) -> int | None:
    """Return the Content-Length, None if there is none."""
    for name, value in headers:
        if name == b"content-length":
            return int(value)
    return None


def whole_response(status: int, headers: Sequence[Header], body: bytes) -> bytes | None:
    """Return the response in wire format (RFC 9112, section 2.1); None if a header is invalid."""
    line = _STATUS_LINES.get(status)
    if line is None:
        return None
    head = b"".join([line, *(b"%b: %b\r\n" % header for header in headers)])
    # A line break inside a header would allow response splitting.
    lines = len(headers) + 1
    if head.count(b"\r") != lines or head.count(b"\n") != lines or b"\0" in head:
        return None
    return b"".join([head, b"\r\n", body])
