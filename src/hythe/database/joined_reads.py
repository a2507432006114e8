"""Lets reads inside a transaction use its connection.

A transaction that waits for a second connection while it holds locks can wait forever: those that have the other
connections of the pool may wait for its locks.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from hythe.database.port import Session

_JOINED: ContextVar[tuple[asyncio.Task[Any] | None, Session] | None] = ContextVar("joined", default=None)


@contextmanager
def reads_in(session: Session) -> Iterator[None]:
    """Let ``Database.reading`` return this session of a ``writing`` in the task that is running, until the block ends.

    Only PostgreSQL does. SQLite reads without a pool, and sees what was committed before the transaction.
    """
    before = _JOINED.set((asyncio.current_task(), session))
    try:
        yield
    finally:
        _JOINED.reset(before)


def joined_session() -> Session | None:
    """Return the session of the innermost ``reads_in``; None in a task that it has started, which may outlive it."""
    task, session = _JOINED.get() or (None, None)
    return session if task is asyncio.current_task() else None
