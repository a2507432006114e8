"""A minimal HTTP/1.1 client for one connection (RFC 9112): headers, and bodies by length, in chunks, or until close.

It replaces http.client, whose imports (email, ssl) take a quarter of the run time of a short command.
"""

from collections.abc import Mapping
from string import hexdigits
from typing import BinaryIO, NamedTuple, Protocol

import msgspec

READ_BUFFER_SIZE = 1 << 16
"""Size of the read buffer for headers and small bodies; larger reads bypass it."""
MAX_LINE_LENGTH = 1 << 16
MAX_HEADER_FIELDS = 200
MAX_HEADER_SIZE = 128 << 10
"""Maximum bytes of all header fields of a response together."""
MAX_INFORMATIONAL_RESPONSES = 20
MAX_CHUNK_LINE_LENGTH = 4096
_MAX_DIGITS = 18


class HTTPRequest(msgspec.Struct, frozen=True):
    """A request; ``url`` is absolute."""

    method: str
    url: str
    headers: dict[str, str] = {}
    body: bytes = b""


class HTTPResponse(msgspec.Struct, frozen=True):
    """A response with its whole body; header names are in lower case."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""

    @property
    def retry_after(self) -> str:
        """The ``Retry-After`` header, or ""."""
        return self.headers.get("retry-after", "")


class InvalidResponse(OSError):
    """The response is not valid HTTP, or is incomplete."""


class Socket(Protocol):
    """The methods of a plain or TLS socket that are used here."""

    def sendall(self, data: bytes | bytearray | memoryview, /) -> None:
        """Send all of ``data``."""

    def sendfile(self, file: BinaryIO, /, offset: int = 0, count: int | None = None) -> int:
        """Send ``count`` bytes of ``file``, starting at ``offset``; returns the number of bytes sent."""

    def settimeout(self, value: float | None, /) -> None:
        """Set the timeout of a call in seconds."""

    def shutdown(self, how: int, /) -> None:
        """Shut down sending, receiving or both."""

    def close(self) -> None:
        """Close."""


class ResponseHead(NamedTuple):
    """The status line and headers of a response; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    keep_alive: bool


class ResponseBody:
    """A response body that ends with the connection. ``ended``: whether it was read completely."""

    def __init__(self, reader: BinaryIO) -> None:
        self._reader = reader
        self.ended = False

    def readinto(self, buffer: memoryview) -> int:
        """Read into ``buffer``; returns the number of bytes, 0 at the end. Raises OSError."""
        count: int = self._reader.readinto(buffer)  # type: ignore[attr-defined]
        self.ended = count == 0
        return count


class FixedLengthBody(ResponseBody):
    """A body with a ``Content-Length``."""

    def __init__(self, reader: BinaryIO, size: int) -> None:
        super().__init__(reader)
        self._left = size
        self.ended = size == 0

    def readinto(self, buffer: memoryview) -> int:
        """See ResponseBody; raises InvalidResponse if the connection closes before the end of the body."""
        if self.ended:
            return 0
        count = super().readinto(buffer[: self._left])
        if count == 0 and len(buffer):
            raise InvalidResponse(f"invalid response: body ended {self._left} bytes early")
        self._left -= count
        self.ended = self._left == 0
        return count


class ChunkedBody(ResponseBody):
    """A body in chunks (RFC 9112, section 7.1)."""

    _left = 0

    def readinto(self, buffer: memoryview) -> int:
        """See ResponseBody; raises InvalidResponse if the connection closes before the last chunk."""
        if self.ended:
            return 0
        if not self._left and not self._next_chunk():
            return 0
        count = super().readinto(buffer[: self._left])
        if count == 0:
            raise InvalidResponse("invalid response: body ended inside a chunk")
        self._left -= count
        if not self._left:
            read_line(self._reader)
        return count

    def _next_chunk(self) -> bool:
        line = read_line(self._reader, MAX_CHUNK_LINE_LENGTH).partition(b";")[0].strip()
        if not 0 < len(line) < _MAX_DIGITS or line.strip(hexdigits.encode()):
            raise InvalidResponse(f"invalid response: {line[:40]!r} is not a chunk size")
        self._left = int(line, 16)
        if self._left:
            return True
        for _ in range(MAX_HEADER_FIELDS):
            if not read_line(self._reader, MAX_CHUNK_LINE_LENGTH):
                self.ended = True
                return False
        raise InvalidResponse(f"invalid response: more than {MAX_HEADER_FIELDS} trailer fields")


class HTTP1Connection:
    """An open connection."""

    def __init__(self, socket: Socket, *, encrypted: bool = False) -> None:
        self.socket = socket
        self.encrypted = encrypted
        self._reader: BinaryIO = socket.makefile("rb", READ_BUFFER_SIZE)  # type: ignore[attr-defined]

    def send_request_head(self, method: str, target: str, headers: Mapping[str, str]) -> None:
        """Send the request line and headers."""
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        if any("\r" in line or "\n" in line for line in lines):
            raise InvalidResponse("invalid response: line break in a header")
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode("latin-1", "backslashreplace"))

    def read_response_head(self) -> ResponseHead:
        """Return status and headers of the final response, skipping informational ones; raises OSError."""
        for _ in range(MAX_INFORMATIONAL_RESPONSES):
            head = self._read_any_response_head()
            if head.status >= 200:
                return head
        raise InvalidResponse("invalid response: too many informational responses")

    def _read_any_response_head(self) -> ResponseHead:
        line = read_line(self._reader)
        version, _, rest = line.partition(b" ")
        status = rest[:3]
        if not version.startswith(b"HTTP/1.") or not status.isdigit():
            raise InvalidResponse(f"invalid response: {line[:40]!r} is not an HTTP/1.1 status line")
        headers = self._read_fields()
        options = headers.get("connection", "").lower()
        keep_alive = "keep-alive" in options if version == b"HTTP/1.0" else "close" not in options
        return ResponseHead(int(status), headers, keep_alive)

    def _read_fields(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        left = MAX_HEADER_SIZE
        for _ in range(MAX_HEADER_FIELDS):
            line = read_line(self._reader)
            if not line:
                return headers
            left -= len(line)
            if left < 0:
                raise InvalidResponse(f"invalid response: header fields of more than {MAX_HEADER_SIZE} bytes")
            name, colon, value = line.decode("latin-1").partition(":")
            if colon:
                key = name.strip().lower()
                headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
        raise InvalidResponse(f"invalid response: more than {MAX_HEADER_FIELDS} header fields")

    def body(self, method: str, head: ResponseHead) -> ResponseBody:
        """Return the body of a response (RFC 9112, section 6.3)."""
        if method == "HEAD" or head.status in (204, 304):
            return FixedLengthBody(self._reader, 0)
        if "chunked" in head.headers.get("transfer-encoding", "").lower():
            return ChunkedBody(self._reader)
        length = head.headers.get("content-length")
        if length is None:
            return ResponseBody(self._reader)
        lengths = {part.strip() for part in length.split(",")}  # sent twice with one value (RFC 9110, section 8.6)
        length = lengths.pop() if len(lengths) == 1 else length
        if not (length.isascii() and length.isdigit()) or len(length) > _MAX_DIGITS:
            raise InvalidResponse(f"invalid response: Content-Length {length[:40]!r}")
        return FixedLengthBody(self._reader, int(length))

    def close(self) -> None:
        """Close the connection."""
        self._reader.close()
        self.socket.close()


def read_line(reader: BinaryIO, max_length: int = MAX_LINE_LENGTH) -> bytes:
    """Return the next line without its line break; raises InvalidResponse if it is too long or incomplete."""
    line = reader.readline(max_length)
    if not line.endswith(b"\n"):
        raise InvalidResponse(
            "the connection was closed" if len(line) < max_length else "invalid response: line too long"
        )
    return line.rstrip(b"\r\n")
