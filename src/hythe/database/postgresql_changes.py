"""What was committed to a PostgreSQL database, by any server: see ``changes``.

All requests that wait share one query. A request waits for the next query that begins after it arrived, never for one
that is running, which may not see what was committed just before the request.

A row of ``changes`` has the transaction that wrote it. The order of transactions is not that of their commits, so the
query returns its snapshot, and the next one asks for the rows whose transactions that snapshot did not see.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextvars import Context
from time import perf_counter
from typing import Any, TypeAlias

from asyncpg import InterfaceError, InternalClientError, PostgresError

from hythe.database.changes import MAX_TOPICS, Changes
from hythe.database.port import UnavailableError

Connect: TypeAlias = Callable[[], Awaitable[Any]]
"""Opens a connection of asyncpg."""

QUERY_TIMEOUT = 5.0
"""Seconds after which a query has failed; the requests that wait for it get errors."""

_ERRORS = (PostgresError, InterfaceError, InternalClientError)

# The plan must not depend on statistics, which are old for a table whose rows live for minutes.
_SET_UP = "SET enable_seqscan = off; SET jit = off"

# Another server (after a switch of the primary, or behind a proxy) was started at another time; it has given the same
# numbers to other transactions. A standby may lack what its primary has acknowledged.
_QUERY = """
SELECT
    pg_current_snapshot()::text AS snapshot,
    pg_postmaster_start_time()::text AS server,
    pg_is_in_recovery() AS standby,
    (
        SELECT deleted_to <= pg_snapshot_xmin($1::text::pg_snapshot) FROM change_horizon WHERE number = 1
    ) AS complete,
    ARRAY(
        SELECT topic FROM changes WHERE position >= pg_snapshot_xmax($1::text::pg_snapshot)
        UNION ALL
        SELECT topic FROM pg_snapshot_xip($1::text::pg_snapshot) AS running (position) JOIN changes USING (position)
        LIMIT $2
    ) AS topics
"""

_BEFORE_ALL = "1:1:"
"""A snapshot that saw no transaction."""


class PostgreSQLChanges(Changes):
    """Asks PostgreSQL for changes, on a connection of its own."""

    def __init__(self, connect: Connect) -> None:
        """``connect`` opens a connection to the database."""
        super().__init__()
        self._connect = connect
        self._connection: Any = None
        self._statement: Any = None
        self._waiting: list[asyncio.Future[int | None]] = []
        self._calls: deque[Callable[[bool], None]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._snapshot = _BEFORE_ALL
        self._server = ""

    async def position(self) -> int | None:
        """See Changes.position. None: this server is a standby."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[int | None] = loop.create_future()
        self._waiting.append(waiter)
        self._start(loop)
        return await waiter

    def when_known(self, call: Callable[[bool], None]) -> None:
        """See Changes.when_known."""
        self._calls.append(call)
        self._start(asyncio.get_running_loop())

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._task is None:
            # In a context of its own, because it serves many requests. It begins once the loop has handled what
            # arrived together with this request.
            self._task = loop.create_task(self._serve(), context=Context())

    async def close(self) -> None:
        """Close the connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._connection is not None:
            self._drop()

    async def _serve(self) -> None:
        waiting: list[asyncio.Future[int | None]] = []
        calls: deque[Callable[[bool], None]] = deque()
        try:
            while self._waiting or self._calls:
                # Requests that arrive from now on wait for the next query.
                waiting, self._waiting = self._waiting, []
                calls, self._calls = self._calls, deque()
                try:
                    position = await self._current()
                except UnavailableError as error:
                    _fail(waiting, str(error))
                    _make(calls, known=False)
                else:
                    _succeed(waiting, position)
                    _make(calls, known=position is not None)
        finally:
            self._task = None
            _fail(waiting + self._waiting, "the query for changes in the database ended")
            _make(calls, known=False)
            _make(self._calls, known=False)
            self._waiting = []

    async def _current(self) -> int | None:
        """Return the position after one query. Raises UnavailableError."""
        if self._statement is not None:
            try:
                return await self._ask()
            except _ConnectionLost:
                # Perhaps long ago. A lost connection and a new one may be to different servers.
                pass
        await self._open()
        return await self._ask()

    async def _open(self) -> None:
        try:
            async with asyncio.timeout(QUERY_TIMEOUT):
                self._connection = await self._connect()
                await self._connection.execute(_SET_UP)
                self._statement = await self._connection.prepare(_QUERY)
        except (OSError, *_ERRORS) as error:  # TimeoutError is an OSError
            self._drop()
            raise UnavailableError(f"the database does not respond: {error or 'no connection in time'}") from error

    async def _ask(self) -> int | None:
        connection = self._connection
        timer = asyncio.get_running_loop().call_later(QUERY_TIMEOUT, connection.terminate)
        begun = perf_counter()
        try:
            row = await self._statement.fetchrow(self._snapshot, MAX_TOPICS + 1)
        except (OSError, *_ERRORS) as error:
            self._drop()
            kind = UnavailableError if perf_counter() - begun >= QUERY_TIMEOUT else _ConnectionLost
            raise kind(f"the database does not respond: {error}") from error
        finally:
            timer.cancel()
        return self._take_over(row)

    def _take_over(self, row: Any) -> int | None:
        same = row["server"] == self._server and self._snapshot != _BEFORE_ALL and row["complete"] is True
        self._server, self._snapshot = row["server"], _BEFORE_ALL if row["standby"] else row["snapshot"]
        if row["standby"]:
            self.forget_all()
            return None
        topics = row["topics"]
        return self.take_over(frozenset(topics)) if same and len(topics) <= MAX_TOPICS else self.forget_all()

    def _drop(self) -> None:
        """Close the connection, and forget what was read before."""
        if self._connection is not None:
            self._connection.terminate()
        self._connection = self._statement = None
        self._snapshot, self._server = _BEFORE_ALL, ""
        self.forget_all()


class _ConnectionLost(UnavailableError):
    """A connection ended while it was used, or before."""


def _succeed(waiting: Iterable[asyncio.Future[int | None]], position: int | None) -> None:
    for waiter in waiting:
        if not waiter.done():
            waiter.set_result(position)


def _make(calls: deque[Callable[[bool], None]], *, known: bool) -> None:
    """Make the calls, each once."""
    while calls:
        calls.popleft()(known)


def _fail(waiting: Iterable[asyncio.Future[int | None]], message: str) -> None:
    for waiter in waiting:
        if not waiter.done():
            # An exception for each: they collect the tracebacks of those who get them.
            waiter.set_exception(UnavailableError(message))
