"""Rows of build logs: chunks as they arrive, and one compressed chunk when the build has finished."""

import zlib
from typing import Any

from sqlalchemy import Row, delete, select

from hythe.database import Session
from hythe.database.port import insert
from hythe.database.tables.builds import build_log


async def append(session: Session, build_id: int, offset: int, content: bytes) -> None:
    """Insert a chunk; one that was stored before (a retry of the worker) stays as it is."""
    statement = insert(session, build_log).values(
        build_id=build_id, offset=offset, size=len(content), content=zlib.compress(content, 1)
    )
    await session.run(statement.on_conflict_do_nothing())


async def read(session: Session, build_id: int, start: int, limit: int = 1 << 20) -> bytes:
    """Return the log from byte ``start`` on, at most ``limit`` bytes."""
    where = (build_log.c.build_id == build_id, build_log.c.offset + build_log.c.size > start)
    rows = await session.rows(select(build_log).where(*where).order_by(build_log.c.offset).limit(200))
    chunks, length = [], 0
    for row in rows:
        chunk = _content(row)[max(0, start - row.offset) :]
        chunks.append(chunk)
        length += len(chunk)
        if length >= limit:
            break
    return b"".join(chunks)[:limit]


async def compact(session: Session, build_id: int) -> None:
    """Merge all chunks into one, with better compression."""
    rows = await session.rows(select(build_log).where(build_log.c.build_id == build_id).order_by(build_log.c.offset))
    if len(rows) < 2:
        return
    whole = b"".join(_content(row) for row in rows)
    await session.run(delete(build_log).where(build_log.c.build_id == build_id))
    await session.run(
        insert(session, build_log).values(build_id=build_id, offset=0, size=len(whole), content=zlib.compress(whole, 9))
    )


def _content(row: Row[Any]) -> bytes:
    return zlib.decompress(row.content)
