"""Reads the body of an upload to an object store in batches, and tells small bodies from large ones."""

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

from hythe.oci.digest import Hasher
from hythe.registry.storage.bucket import Writer

BATCH_SIZE = 1024 * 1024
"""Bytes to gather before hashing and sending them."""


class Body(NamedTuple):
    """A body of which the first batch has been read.

    ``rest`` yields the following batches; None if ``first`` is the whole body, or all before it raised ``cut``.
    """

    first: bytes
    rest: AsyncIterator[bytes] | None
    cut: Exception | None


async def open_body(body: AsyncIterator[bytes]) -> Body:
    """Read the first batch of ``body``."""
    batches = _batches(body)
    first = b""
    try:
        first = await anext(batches, b"")
        if len(first) >= BATCH_SIZE:
            return Body(first, batches, None)
        await anext(batches, None)
    except Exception as error:
        return Body(first, None, error)
    return Body(first, None, None)


async def copy_body(
    first: bytes, rest: AsyncIterator[bytes], writer: Writer, hasher: Hasher | None
) -> tuple[int, Exception | None]:
    """Write and hash the bytes; return their number and the error of ``rest``. Raises the errors of ``writer``."""
    batch: bytes | None = first
    size = 0
    while batch is not None:
        hashing = None if hasher is None else asyncio.to_thread(hasher.update, batch)
        await asyncio.gather(writer.write(batch), *([hashing] if hashing else []))
        size += len(batch)
        try:
            batch = await anext(rest, None)
        except Exception as error:
            return size, error
    return size, None


async def _batches(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the bytes in larger pieces, including the last ones before ``body`` raises."""
    gathered: list[bytes] = []
    size = 0
    try:
        async for piece in body:
            gathered.append(piece)
            size += len(piece)
            if size >= BATCH_SIZE:
                yield b"".join(gathered)
                gathered, size = [], 0
    except Exception:
        if size:
            yield b"".join(gathered)
        raise
    if size:
        yield b"".join(gathered)
