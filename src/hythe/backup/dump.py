"""The dump: all rows of a database as one stream of bytes, which every engine can load.

A stream of frames, each a length (4 bytes, big-endian) and that many bytes: a MessagePack value, compressed with
Zstandard. The first one is a DumpHeader, then follow pairs (number of a table, its next rows), the last one is a
DumpTrailer.
"""

import asyncio
import re
import struct
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
from backports import zstd

from hythe.backup.errors import BackupDamaged
from hythe.backup.rows import DERIVED, Row, RowsDigest, RowSource, RowTarget, TableContent, TableShape

FORMAT = 1

OMITTED = (*DERIVED, "uploads", "garbage_holds")
"""Tables without rows in a dump: the bytes of unfinished uploads are not copied either."""

MAX_FRAME = 1 << 30
"""Bytes of a frame, compressed and decompressed. Those of a dump stay far below, as rows are read in batches."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_LEVEL = 3
_LENGTH = struct.Struct(">I")


class DumpHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What a dump contains."""

    format: int = FORMAT
    revision: str
    tables: tuple[TableShape, ...]


class DumpTrailer(msgspec.Struct, frozen=True):
    """The content of each table, for comparison, and the last ids of those with a sequence."""

    contents: tuple[TableContent, ...]
    last_ids: dict[str, int]


class Frames:
    """Splits a stream of bytes into frames."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self._buffer = bytearray()

    async def next(self) -> bytes | None:
        """Return the next decompressed frame; None at the end. Raises BackupDamaged."""
        head = await self._take(_LENGTH.size)
        if head is None:
            return None
        (size,) = _LENGTH.unpack(head)
        body = await self._take(size) if size <= MAX_FRAME else None
        if body is None:
            raise BackupDamaged("the backup's database is truncated")
        try:
            return await asyncio.to_thread(_decompressed, body)
        except zstd.ZstdError as error:
            raise BackupDamaged(f"the backup's database cannot be decompressed: {error}") from error

    async def _take(self, size: int) -> bytes | None:
        while len(self._buffer) < size:
            piece = await anext(self._pieces, None)
            if piece is None:
                if self._buffer:
                    raise BackupDamaged("the backup's database is truncated")
                return None
            self._buffer += piece
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken


def _decompressed(body: bytes) -> bytes:
    """Return the content of a frame. Raises BackupDamaged if it is incomplete, or too large."""
    decompressor = zstd.ZstdDecompressor()
    content: bytes = decompressor.decompress(body, MAX_FRAME)
    if not decompressor.eof:
        raise BackupDamaged("the backup's database is truncated, or has a part that is too large")
    return content


def frame(value: Any) -> bytes:
    """Return a value as a frame."""
    body = zstd.compress(msgspec.msgpack.encode(value), _LEVEL)
    return _LENGTH.pack(len(body)) + body


async def dumped(source: RowSource, tables: Sequence[TableShape]) -> AsyncIterator[tuple[bytes, int]]:
    """Yield the dump in pieces, each with the number of rows in it."""
    yield frame(DumpHeader(revision=source.revision, tables=tuple(tables))), 0
    contents = []
    for number, table in enumerate(tables):
        digest = RowsDigest()
        if table.name not in OMITTED:
            async for rows in source.rows(table):
                yield await asyncio.to_thread(_packed, number, rows, digest), len(rows)
        contents.append(digest.content)
    yield frame(DumpTrailer(tuple(contents), dict(await source.last_ids()))), 0


def _packed(number: int, rows: Sequence[Row], digest: RowsDigest) -> bytes:
    digest.add(rows)
    return frame((number, rows))


class DumpReader:
    """Loads a dump."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._frames = Frames(pieces)
        self._ahead: tuple[int, Sequence[Row]] | DumpTrailer | None = None

    async def header(self) -> DumpHeader:
        """Return the first frame. Raises BackupDamaged."""
        header: DumpHeader = _decoded(await self._frames.next(), DumpHeader)
        if header.format != FORMAT:
            raise BackupDamaged(f"the backup's database has format {header.format}, which this version cannot read")
        # They become parts of SQL statements, and the place of the backup may belong to others.
        for name in (name for table in header.tables for name in (table.name, *table.columns)):
            if not _NAME.fullmatch(name):
                raise BackupDamaged(f"the backup's database has an invalid name: {name[:100]!r}")
        return header

    async def load(self, header: DumpHeader, target: RowTarget) -> DumpTrailer:
        """Load all rows into ``target``. Raises BackupDamaged."""
        await self._advance()
        for number, table in enumerate(header.tables):
            await target.load(table, self._rows_of(number))
        if not isinstance(self._ahead, DumpTrailer):
            raise BackupDamaged("the backup's database has rows of an unknown table")
        return self._ahead

    async def _rows_of(self, number: int) -> AsyncIterator[Sequence[Row]]:
        while not isinstance(self._ahead, DumpTrailer) and self._ahead is not None and self._ahead[0] == number:
            yield self._ahead[1]
            await self._advance()

    async def _advance(self) -> None:
        content = await self._frames.next()
        value = _decoded(content, Any)
        self._ahead = _decoded(content, DumpTrailer) if isinstance(value, dict) else (value[0], value[1])


def _decoded(content: bytes | None, kind: Any) -> Any:
    if content is None:
        raise BackupDamaged("the backup's database is truncated")
    try:
        return msgspec.msgpack.decode(content, type=kind)
    except msgspec.MsgspecError as error:
        raise BackupDamaged(f"the backup's database cannot be read: {error}") from error


async def check_contents(target: RowTarget, tables: Sequence[TableShape], expected: Sequence[TableContent]) -> None:
    """Read all rows back and compare them with what was read. Raises BackupDamaged."""
    for table, content in zip(tables, expected, strict=True):
        if table.name in DERIVED:
            continue
        digest = RowsDigest()
        async for rows in target.rows(table):
            await asyncio.to_thread(digest.add, rows)
        if digest.content != content:
            raise BackupDamaged(
                f"the table {table.name} has {digest.content.rows} rows, and not the {content.rows} that were read, "
                "or others"
            )
