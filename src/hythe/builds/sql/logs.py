"""Rows of build logs: chunks as they arrive, and larger ones when the build has finished."""

import asyncio
import zlib
from itertools import takewhile
from typing import Any

import msgspec
from sqlalchemy import Row, delete, select

from hythe.database import Session
from hythe.database.port import insert
from hythe.database.tables.builds import build_log

MERGED_SIZE = 256 * 1024
"""Bytes of the chunks into which a finished log is merged; each takes about a millisecond to decompress."""


async def append(session: Session, build_id: int, offset: int, content: bytes) -> None:
    """Insert a chunk; one that was stored before (a retry of the worker) stays as it is."""
    statement = insert(session, build_log).values(
        build_id=build_id, offset=offset, size=len(content), content=zlib.compress(content, 1)
    )
    await session.run(statement.on_conflict_do_nothing())


async def read(session: Session, build_id: int, start: int, limit: int = 1 << 20) -> bytes:
    """Return the log from byte ``start`` on, at most ``limit`` bytes."""
    chunks, length = [], 0
    for row in await _rows(session, build_id, start):
        chunk = (await _content(row))[max(0, start - row.offset) :]
        chunks.append(chunk)
        length += len(chunk)
        if length >= limit:
            break
    return b"".join(chunks)[:limit]


class LogPart(msgspec.Struct, frozen=True):
    """Chunks of a log that follow each other; ``end`` is the offset behind the last one."""

    offsets: tuple[int, ...]
    contents: tuple[bytes, ...]
    end: int

    def merged(self) -> bytes:
        """Return the content of all chunks together, as it is stored; run this in a thread."""
        return zlib.compress(b"".join(map(zlib.decompress, self.contents)))


async def part(session: Session, build_id: int, start: int) -> LogPart | None:
    """Return the chunks from byte ``start`` on that make a large one; None at the end."""
    rows = await _rows(session, build_id, start)
    if not rows:
        return None
    some = [rows[0], *takewhile(lambda row: row.offset + row.size <= start + MERGED_SIZE, rows[1:])]
    return LogPart(
        tuple(row.offset for row in some), tuple(row.content for row in some), some[-1].offset + some[-1].size
    )


async def merge(session: Session, build_id: int, part: LogPart, content: bytes) -> None:
    """Replace the chunks of a part by one with its merged ``content``."""
    first = part.offsets[0]
    own = (build_log.c.build_id == build_id, build_log.c.offset.in_(part.offsets))
    await session.run(delete(build_log).where(*own))
    await session.run(
        insert(session, build_log).values(build_id=build_id, offset=first, size=part.end - first, content=content)
    )


async def _rows(session: Session, build_id: int, start: int) -> list[Row[Any]]:
    where = (build_log.c.build_id == build_id, build_log.c.offset + build_log.c.size > start)
    return list(await session.rows(select(build_log).where(*where).order_by(build_log.c.offset).limit(200)))


async def _content(row: Row[Any]) -> bytes:
    """Return a chunk. Earlier versions merged the whole log, which takes long to decompress."""
    if row.size > MERGED_SIZE:
        return await asyncio.to_thread(zlib.decompress, row.content)
    return zlib.decompress(row.content)
