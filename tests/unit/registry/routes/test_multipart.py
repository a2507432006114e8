"""Several ranges in one response, read as streams: nothing is lost between pieces, and reads are few."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hythe.registry.routes.multipart import MAX_GAP, Multipart
from hythe.registry.routes.ranges import parse_ranges

CONTENT = bytes(range(256))


class Source:
    """A blob that is read in pieces of some size."""

    def __init__(self, content: bytes, piece: int) -> None:
        self.content = content
        self.piece = piece
        self.reads: list[tuple[int, int]] = []

    async def read(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Yield the bytes from start to stop."""
        self.reads.append((start, stop))
        for offset in range(start, stop, self.piece):
            yield self.content[offset : min(offset + self.piece, stop)]


def body_of(source: Source, header: str) -> tuple[bytes, bytes]:
    """Return the boundary and the body of the response to this Range header."""
    size = len(source.content)
    multipart = Multipart(parse_ranges(header, size), size)
    stream = multipart.of_stream(source.read)

    async def joined() -> bytes:
        return b"".join([piece async for piece in stream.pieces])

    body = asyncio.run(joined())
    assert len(body) == stream.size
    return multipart.content_type.partition(b"=")[2], body


@given(
    starts=st.lists(st.tuples(st.integers(0, 255), st.integers(0, 40)), min_size=1, max_size=12),
    piece=st.integers(1, 300),
)
def test_parts_are_the_ranges(starts: list[tuple[int, int]], piece: int) -> None:
    """Whatever the pieces in which the blob is read."""
    header = "bytes=" + ",".join(f"{start}-{start + count}" for start, count in starts)
    boundary, body = body_of(Source(CONTENT, piece), header)

    first, *parts, last = (b"\r\n" + body).split(b"\r\n--" + boundary)
    assert (first, last) == (b"", b"--\r\n")
    for part, each in zip(parts, parse_ranges(header, len(CONTENT)), strict=True):
        head, _, content = part.partition(b"\r\n\r\n")
        assert head.endswith(f"Content-Range: bytes {each.start}-{each.stop - 1}/256".encode())
        assert content == CONTENT[each.start : each.stop]


@pytest.mark.parametrize(
    ("header", "reads"),
    [
        ("bytes=0-9,20-29,40-49", [(0, 50)]),
        ("bytes=40-49,20-29", [(40, 50), (20, 30)]),
        (f"bytes=0-9,{MAX_GAP + 10}-{MAX_GAP + 19}", [(0, MAX_GAP + 20)]),
        (f"bytes=0-9,{MAX_GAP + 11}-{MAX_GAP + 19}", [(0, 10), (MAX_GAP + 11, MAX_GAP + 20)]),
    ],
)
def test_near_ranges_are_read_at_once(header: str, reads: list[tuple[int, int]]) -> None:
    """A thousand chunks are not a thousand requests to an object store."""
    source = Source(bytes(2 * MAX_GAP), 1000)

    body_of(source, header)

    assert source.reads == reads
