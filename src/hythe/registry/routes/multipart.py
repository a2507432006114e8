"""Responses with several ranges of a blob (RFC 9110, section 15.3.7.2), which podman requests of large layers."""

import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec

from hythe.registry.routes.http import FilePart, FileParts, Stream
from hythe.registry.routes.ranges import ByteRange

MAX_GAP = 64 * 1024
"""Bytes between two ranges that are read and dropped: that is faster than another request to an object store."""

MIN_PIECE_SIZE = 64 * 1024
"""Bytes to send at once: each of a thousand small parts would cost as much."""

Read: TypeAlias = Callable[[int, int], AsyncIterator[bytes]]
"""Yields the bytes of a blob from an offset up to another."""


class _Part(msgspec.Struct, frozen=True):
    """A range, and the delimiter and headers that are sent before it."""

    head: bytes
    range: ByteRange


class Multipart:
    """The body of a response with several ranges of ``size`` bytes."""

    def __init__(self, ranges: Sequence[ByteRange], size: int) -> None:
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/byteranges; boundary={boundary}".encode()
        start = f"\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: "
        headers = [f"{start}{part.header(size)}\r\n\r\n".encode() for part in ranges]
        headers[0] = headers[0].removeprefix(b"\r\n")
        self._parts = list(map(_Part, headers, ranges))
        self._end = b"\r\n--%b--\r\n" % boundary.encode()

    def of_file(self, path: Path) -> FileParts:
        """Return the body for a blob in a file."""
        pieces: list[bytes | FilePart] = []
        for part in self._parts:
            pieces += [part.head, FilePart(path, part.range.start, part.range.stop)]
        return FileParts((*pieces, self._end))

    def of_stream(self, read: Read) -> Stream:
        """Return the body for a blob that ``read`` reads."""
        contents = sum(len(part.head) + part.range.stop - part.range.start for part in self._parts)
        return Stream(self._pieces(read), contents + len(self._end))

    async def _pieces(self, read: Read) -> AsyncIterator[bytes]:
        joined: list[bytes] = []
        size = 0
        for parts in _neighbors(self._parts):
            start = parts[0].range.start
            async for piece in _cut(read(start, parts[-1].range.stop), start, parts):
                joined.append(piece)
                size += len(piece)
                if size >= MIN_PIECE_SIZE:
                    yield b"".join(joined)
                    joined, size = [], 0
        yield b"".join([*joined, self._end])


def _neighbors(parts: Sequence[_Part]) -> Iterator[list[_Part]]:
    """Yield the parts in groups that are read at once."""
    group: list[_Part] = []
    for part in parts:
        if group and not 0 <= part.range.start - group[-1].range.stop <= MAX_GAP:
            yield group
            group = []
        group.append(part)
    yield group


async def _cut(pieces: AsyncIterator[bytes], offset: int, parts: Sequence[_Part]) -> AsyncIterator[bytes]:
    """Yield the parts with their headers; ``pieces`` are the bytes from ``offset`` to the end of the last part."""
    left = list(reversed(parts))
    async for piece in pieces:
        stop = offset + len(piece)
        while left and left[-1].range.start < stop:
            part = left[-1]
            if part.range.start >= offset:
                yield part.head
            yield piece[max(part.range.start - offset, 0) : part.range.stop - offset]
            if part.range.stop > stop:
                break
            left.pop()
        offset = stop
