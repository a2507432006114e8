"""A pool of asyncpg's connections, each with its prepared statements.

Unlike asyncpg's own pool it asks nothing of a connection that comes back (that would cost as much as a statement), and
it ends in the background what a cancelled request has left behind.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Self, TypeAlias

from hythe.database.port import UnavailableError
from hythe.database.postgresql_errors import DRIVER_ERRORS, is_lost, is_stale, reason, translated
from hythe.telemetry.metrics import POOL_SIZE, POOL_USED, POOL_WAITING

MAX_CONNECTIONS = 20
"""Connections that a pool opens at most; further requests wait."""

WAIT_TIMEOUT = 30.0
"""Seconds to wait for a connection."""

MAX_IDLE = 600.0
"""Seconds after which an idle connection is closed: firewalls forget such connections without a word."""

CLEAN_UP_TIMEOUT = 10.0
"""Seconds for ending a cancelled statement and its transaction; then the connection is closed."""

MAX_PREPARED = 300
"""Prepared statements of a connection. Each takes memory of the server, about 20 kB."""

Connect: TypeAlias = Callable[[], Awaitable[Any]]
"""Opens a connection of asyncpg."""


class PooledConnection:
    """A connection with its prepared statements."""

    __slots__ = ("_found_stale", "_prepared", "_stale_at", "idle_since", "is_interrupted", "is_new", "raw")

    def __init__(self, raw: Any, found_stale: Callable[[], None]) -> None:
        """``found_stale`` is called when a prepared statement must be prepared again."""
        self.raw = raw
        self._found_stale = found_stale
        self.idle_since = 0.0
        self.is_new = True
        """Whether no statement has succeeded yet. What another one raises may concern an earlier server."""
        self.is_interrupted = False
        """Whether a statement was begun, and its end is unknown."""
        self._prepared: dict[str, Any] = {}
        self._stale_at = 0

    async def fetch(self, text: str, arguments: Sequence[Any]) -> tuple[list[Any], Any]:
        """Run a statement; return its records and the prepared statement. Raises DRIVER_ERRORS.

        Outside a transaction, a statement that is no longer prepared is prepared again.
        """
        try:
            prepared = self._prepared.get(text) or await self._prepare(text)
            self.is_interrupted = True
            records = await prepared.fetch(*arguments)
        except DRIVER_ERRORS as error:
            self.is_interrupted = False
            if not self._is_stale(error) or self.raw.is_in_transaction():
                raise
            prepared = await self._prepare(text)
            records = await self._guarded(prepared.fetch(*arguments))
        self.is_new = self.is_interrupted = False
        return records, prepared

    async def fetch_many(self, text: str, arguments: Sequence[Sequence[Any]]) -> None:
        """Run a statement for each of the arguments, all or nothing. Raises DRIVER_ERRORS."""
        try:
            prepared = self._prepared.get(text) or await self._prepare(text)
            await self._guarded(prepared.executemany(arguments))
        except DRIVER_ERRORS as error:
            self._is_stale(error)
            raise

    async def execute(self, script: str) -> str:
        """Run statements without parameters in one round trip; return the status of the last. Raises DRIVER_ERRORS."""
        status: str = await self._guarded(self.raw.execute(script))
        return status

    async def _prepare(self, text: str) -> Any:
        if len(self._prepared) >= MAX_PREPARED:
            del self._prepared[next(iter(self._prepared))]
        prepared = self._prepared[text] = await self._guarded(self.raw.prepare(text))
        return prepared

    async def _guarded(self, work: Coroutine[Any, Any, Any]) -> Any:
        self.is_interrupted = True
        try:
            result = await work
        except DRIVER_ERRORS:
            self.is_interrupted = False
            raise
        self.is_new = self.is_interrupted = False
        return result

    def _is_stale(self, error: BaseException) -> bool:
        """Return whether statements must be prepared again, after forgetting them."""
        stale = is_stale(error)
        if stale:
            self._prepared.clear()
            self._found_stale()
        return stale

    def is_lost(self, error: BaseException) -> bool:
        """Return whether the connection has ended, after an error."""
        return self.raw.is_closed() or is_lost(error)

    def forget_prepared(self, generation: int) -> None:
        """Prepare all statements again if something was stale since the last call."""
        if self._stale_at != generation:
            self._stale_at = generation
            self._prepared.clear()


class PostgreSQLPool:
    """Connections to one database. The one that came back last is used first."""

    def __init__(self, connect: Connect) -> None:
        """``connect`` opens a connection."""
        self._connect = connect
        self._idle: list[PooledConnection] = []
        self._waiting: deque[asyncio.Future[PooledConnection | None]] = deque()
        self._open = 0
        self._stale_count = 0
        self._clean_ups: set[asyncio.Task[None]] = set()
        self._closed = False
        POOL_SIZE.set(MAX_CONNECTIONS)

    async def acquire(self) -> PooledConnection:
        """Return a connection, which the caller releases or discards. Raises UnavailableError."""
        connection: PooledConnection | None = None
        while connection is None and self._idle:
            connection = self._usable(self._idle.pop())
        if connection is None and self._open >= MAX_CONNECTIONS:
            connection = await self._wait()
        elif connection is None:
            self._open += 1
        if connection is None:
            connection = await self._new()
        connection.forget_prepared(self._stale_count)
        self._measure()
        return connection

    def _usable(self, connection: PooledConnection) -> PooledConnection | None:
        if not connection.raw.is_closed() and monotonic() - connection.idle_since < MAX_IDLE:
            return connection
        self._open -= 1
        connection.raw.terminate()
        return None

    async def _wait(self) -> PooledConnection | None:
        """Wait for a connection, or for the right to open one (None)."""
        waiter: asyncio.Future[PooledConnection | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._measure()
        try:
            async with asyncio.timeout(WAIT_TIMEOUT):
                return await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled():
                self._pass_on(waiter.result())
            if isinstance(error, TimeoutError):
                message = f"the database does not respond: no connection was free for {WAIT_TIMEOUT:g} s"
                raise UnavailableError(message) from error
            raise

    async def _new(self) -> PooledConnection:
        try:
            return PooledConnection(await self._connect(), self._note_stale)
        except BaseException as error:
            self._pass_on(None)
            if isinstance(error, DRIVER_ERRORS):
                raise UnavailableError(f"the database does not respond: {reason(error)}") from error
            raise

    def release(self, connection: PooledConnection) -> None:
        """Take a connection back, in whatever state it is."""
        raw = connection.raw
        if raw.is_closed() or self._closed:
            self.discard(connection)
        elif connection.is_interrupted or raw.is_in_transaction():
            task = asyncio.create_task(self._clean_up(connection))
            self._clean_ups.add(task)
            task.add_done_callback(self._clean_ups.discard)
        else:
            connection.idle_since = monotonic()
            self._pass_on(connection)
            self._close_idle(connection.idle_since - MAX_IDLE)

    def discard(self, connection: PooledConnection) -> None:
        """Close a connection at once."""
        connection.raw.terminate()
        self._pass_on(None)

    def _note_stale(self) -> None:
        """Let every connection prepare its statements again: the schema has changed."""
        self._stale_count += 1

    def _pass_on(self, connection: PooledConnection | None) -> None:
        """Give a connection, or the right to open one, to who waits."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        if connection is None:
            self._open -= 1
        else:
            self._idle.append(connection)
        self._measure()

    def _measure(self) -> None:
        POOL_USED.set(self._open - len(self._idle))
        POOL_WAITING.set(len(self._waiting))

    def _close_idle(self, before: float) -> None:
        while self._idle and self._idle[0].idle_since < before:
            self._open -= 1
            self._idle.pop(0).raw.terminate()

    async def _clean_up(self, connection: PooledConnection) -> None:
        """End what a cancelled request has left behind; asyncpg first awaits that its statement was cancelled."""
        try:
            async with asyncio.timeout(CLEAN_UP_TIMEOUT):
                await connection.execute("ROLLBACK" if connection.raw.is_in_transaction() else "SELECT")
                if connection.raw.is_in_transaction():  # the cancelled statement began it
                    await connection.execute("ROLLBACK")
        except DRIVER_ERRORS:
            self.discard(connection)
        except BaseException:
            self.discard(connection)
            raise
        else:
            self.release(connection)

    async def close(self) -> None:
        """Close all connections; those in use when they are released."""
        self._closed = True
        await asyncio.gather(*self._clean_ups, return_exceptions=True)
        while self._idle:
            connection = self._idle.pop()
            try:
                await connection.raw.close(timeout=CLEAN_UP_TIMEOUT)
            except DRIVER_ERRORS:
                connection.raw.terminate()


class HeldConnection:
    """A connection of a pool for one session."""

    __slots__ = ("_connection", "_pool", "_retries")

    def __init__(self, pool: PostgreSQLPool, connection: PooledConnection, *, retries: bool) -> None:
        """``retries``: outside a transaction; what fails on a connection that was lost before runs on another."""
        self._pool = pool
        self._connection: PooledConnection | None = connection
        self._retries = retries

    @classmethod
    async def begun(cls, pool: PostgreSQLPool, script: str) -> Self:
        """Hold a connection on which ``script`` has begun a transaction. Raises UnavailableError."""
        while True:
            connection = await pool.acquire()
            was_new = connection.is_new
            try:
                await connection.execute(script)
            except BaseException as error:
                lost = connection.is_lost(error)
                pool.discard(connection) if lost else pool.release(connection)
                if not isinstance(error, DRIVER_ERRORS):
                    raise
                if was_new or not lost:
                    raise translated(error, script) from error
            else:
                return cls(pool, connection, retries=False)

    async def fetch(self, text: str, arguments: Sequence[Any]) -> tuple[list[Any], Any]:
        """See PooledConnection.fetch. Raises what ``translated`` returns."""
        while True:
            connection = self._held
            was_new = connection.is_new
            try:
                return await connection.fetch(text, arguments)
            except DRIVER_ERRORS as error:
                if not self._retries or was_new or not connection.is_lost(error):
                    raise translated(error, text, arguments) from error
            self._connection = None
            self._pool.discard(connection)
            self._connection = await self._pool.acquire()

    async def fetch_many(self, text: str, arguments: Sequence[Sequence[Any]]) -> None:
        """See PooledConnection.fetch_many. Raises what ``translated`` returns."""
        try:
            await self._held.fetch_many(text, arguments)
        except DRIVER_ERRORS as error:
            raise translated(error, text, arguments) from error

    async def commit(self) -> None:
        """End the transaction. Raises UnavailableError if it was not committed."""
        try:
            status = await self._held.execute("COMMIT")
        except DRIVER_ERRORS as error:
            raise translated(error, "COMMIT") from error
        if status != "COMMIT":
            raise UnavailableError("the database rolled back a transaction in which a statement had failed")

    async def roll_back(self) -> None:
        """End a transaction that failed; does nothing if the connection or the transaction has ended."""
        connection = self._held
        if connection.raw.is_in_transaction():
            with suppress(*DRIVER_ERRORS):
                await connection.execute("ROLLBACK")

    def release(self) -> None:
        """Return the connection to the pool."""
        if self._connection is not None:
            self._pool.release(self._connection)
            self._connection = None

    @property
    def _held(self) -> PooledConnection:
        if self._connection is None:
            raise UnavailableError("the connection to the database was lost")
        return self._connection
