"""HTTP/1.1 on one connection (RFC 9112): heads line by line, bodies by length, in chunks, or up to the end.

Our own and small, because http.client brings email and TLS with it, which costs a short command a quarter of its time.
"""

from collections.abc import Mapping
from typing import BinaryIO, NamedTuple, Protocol

import msgspec

READ_BUFFER_SIZE = 1 << 16
"""Bytes that are read at once for heads and small bodies; larger reads go past this buffer."""
MAX_LINE_LENGTH = 1 << 16
MAX_HEADER_FIELDS = 200


class HTTPRequest(msgspec.Struct, frozen=True):
    """What is asked of a server; ``url`` is absolute."""

    method: str
    url: str
    headers: dict[str, str] = {}
    body: bytes = b""


class HTTPResponse(msgspec.Struct, frozen=True):
    """What a server said; header names are lower case."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""

    @property
    def retry_after(self) -> str:
        """The ``Retry-After`` header, "" when there is none."""
        return self.headers.get("retry-after", "")


class InvalidResponse(OSError):
    """What came is not HTTP, or ends too early."""


class Socket(Protocol):
    """The part of a socket, plain or TLS, that is used here."""

    def sendall(self, data: bytes | bytearray | memoryview, /) -> None:
        """Send all of ``data``."""

    def sendfile(self, file: BinaryIO, /, offset: int = 0, count: int | None = None) -> int:
        """Send ``count`` bytes of ``file`` from ``offset`` on; returns how many were sent."""

    def settimeout(self, value: float | None, /) -> None:
        """Set how long one call may take, in seconds."""

    def shutdown(self, how: int, /) -> None:
        """Stop sending and receiving."""

    def close(self) -> None:
        """Close."""


class ResponseHead(NamedTuple):
    """The beginning of an answer; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    keep_alive: bool


class ResponseBody:
    """An answer's body. ``ended`` says whether all of it was read."""

    def __init__(self, reader: BinaryIO) -> None:
        self._reader = reader
        self.ended = False

    def readinto(self, buffer: memoryview) -> int:
        """Fill ``buffer`` as far as the body goes; returns the count of bytes, 0 at the end. Raises OSError."""
        count: int = self._reader.readinto(buffer)  # type: ignore[attr-defined]
        self.ended = count == 0
        return count


class FixedLengthBody(ResponseBody):
    """A body whose length was said."""

    def __init__(self, reader: BinaryIO, size: int) -> None:
        super().__init__(reader)
        self._left = size
        self.ended = size == 0

    def readinto(self, buffer: memoryview) -> int:
        """See Body; raises InvalidResponse when the connection ends before the body does."""
        if self.ended:
            return 0
        count = super().readinto(buffer[: self._left])
        if count == 0 and len(buffer):
            raise InvalidResponse(f"the answer ended {self._left} bytes too early")
        self._left -= count
        self.ended = self._left == 0
        return count


class ChunkedBody(ResponseBody):
    """A body in chunks (RFC 9112, section 7.1)."""

    _left = 0

    def readinto(self, buffer: memoryview) -> int:
        """See Body; raises InvalidResponse when the connection ends before the last chunk."""
        if self.ended:
            return 0
        if not self._left and not self._next_chunk():
            return 0
        count = super().readinto(buffer[: self._left])
        if count == 0:
            raise InvalidResponse("the answer ended in the middle of a chunk")
        self._left -= count
        if not self._left:
            read_line(self._reader)
        return count

    def _next_chunk(self) -> bool:
        line = read_line(self._reader).partition(b";")[0].strip()
        try:
            self._left = int(line, 16)
        except ValueError as error:
            raise InvalidResponse(f"{line[:40]!r} is not the size of a chunk") from error
        if self._left:
            return True
        while read_line(self._reader):
            """Trailer fields mean nothing to us."""
        self.ended = True
        return False


class HTTP1Connection:
    """One open connection."""

    def __init__(self, socket: Socket, *, encrypted: bool = False) -> None:
        self.socket = socket
        self.encrypted = encrypted
        self._reader: BinaryIO = socket.makefile("rb", READ_BUFFER_SIZE)  # type: ignore[attr-defined]

    def send_request_head(self, method: str, target: str, headers: Mapping[str, str]) -> None:
        """Send a request's beginning."""
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        if any("\r" in line or "\n" in line for line in lines):
            raise InvalidResponse("a line break in a header: the server sent us something strange")
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode("latin-1", "backslashreplace"))

    def read_response_head(self) -> ResponseHead:
        """Return the beginning of the final answer (informational ones are passed over); raises OSError."""
        while (head := self._read_any_response_head()).status < 200:
            pass
        return head

    def _read_any_response_head(self) -> ResponseHead:
        line = read_line(self._reader)
        version, _, rest = line.partition(b" ")
        status = rest[:3]
        if not version.startswith(b"HTTP/1.") or not status.isdigit():
            raise InvalidResponse(f"{line[:40]!r} is not the beginning of an HTTP/1.1 answer")
        headers = self._read_fields()
        words = headers.get("connection", "").lower()
        keep_alive = "keep-alive" in words if version == b"HTTP/1.0" else "close" not in words
        return ResponseHead(int(status), headers, keep_alive)

    def _read_fields(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        for _ in range(MAX_HEADER_FIELDS):
            line = read_line(self._reader)
            if not line:
                return headers
            name, colon, value = line.decode("latin-1").partition(":")
            if colon:
                key = name.strip().lower()
                headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
        raise InvalidResponse(f"the answer has more than {MAX_HEADER_FIELDS} header fields")

    def body(self, method: str, head: ResponseHead) -> ResponseBody:
        """Return the body that follows a head (RFC 9112, section 6.3)."""
        if method == "HEAD" or head.status in (204, 304):
            return FixedLengthBody(self._reader, 0)
        if "chunked" in head.headers.get("transfer-encoding", "").lower():
            return ChunkedBody(self._reader)
        length = head.headers.get("content-length")
        if length is None:
            return ResponseBody(self._reader)
        if not length.isdigit():
            raise InvalidResponse(f"{length[:40]!r} is not a length")
        return FixedLengthBody(self._reader, int(length))

    def close(self) -> None:
        """Close the connection."""
        self._reader.close()
        self.socket.close()


def read_line(reader: BinaryIO) -> bytes:
    """Return the next line without its end; raises InvalidResponse when it is too long, or the connection has ended."""
    line = reader.readline(MAX_LINE_LENGTH)
    if not line.endswith(b"\n"):
        raise InvalidResponse(
            "the connection was closed" if len(line) < MAX_LINE_LENGTH else "a line of the answer is too long"
        )
    return line.rstrip(b"\r\n")
