"""The database port for PostgreSQL, with asyncpg."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from time import perf_counter
from typing import Any, TypeVar

import asyncpg
from asyncpg import InterfaceError, InternalClientError, InvalidCachedStatementError
from sqlalchemy import Connection, Executable, Row, String, bindparam, func, select, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from hythe.database.changes import note_read, note_written
from hythe.database.joined_reads import joined_session
from hythe.database.port import Dialect, InvalidValueError, Parameters, QueryTimeout, UnavailableError
from hythe.database.postgresql_changes import PostgreSQLChanges
from hythe.telemetry.statements import observe_statement

T = TypeVar("T")

POOL_SIZE = 10
"""Connections in the pool; as many again may be opened for a burst."""

_UNAVAILABLE = ("08", "25006", "26000", "28", "3D000", "40", "53", "55P03", "57P", "58", "XX")
"""SQLSTATE classes: connection, read-only, lost prepared statement, login refused, no such database, serialization
failure, no resources, lock not available, shutdown, system error, internal error."""

_REASONS = {
    "53100": "the disk of the PostgreSQL server is full: free space there",
    "53300": "PostgreSQL has no free connections: raise its max_connections",
    "25006": "PostgreSQL is read-only, perhaps a standby: connect to the primary",
    "XX001": "PostgreSQL found damaged data: look at its log, and restore a backup if necessary",
    "XX002": "PostgreSQL found a damaged index: look at its log, and rebuild the index",
}
"""What to do, by SQLSTATE."""

_LOST = (InterfaceError, InternalClientError)
"""Errors of asyncpg without SQLSTATE: the connection is closed, or was closed in the middle of something."""

_INVALID_VALUE = "22"
"""SQLSTATE class of invalid values: a NUL character, a text too long, a number out of range."""

_CANCELLED = "57014"
"""SQLSTATE of a statement that ``statement_timeout`` has ended."""

# Long reads depend on their values: a plan for any value could read a thousand times as much.
_LIMIT_TIME = select(
    func.set_config("statement_timeout", bindparam("milliseconds", type_=String), True),
    func.set_config("plan_cache_mode", "force_custom_plan", True),
)
_NOT_DURABLE = text("SET LOCAL synchronous_commit = off")


class PostgreSQLDatabase:
    """A pool of connections to one PostgreSQL database."""

    dialect: Dialect = "postgresql"

    def __init__(self, url: str) -> None:
        """Prepare a pool for ``url`` (postgresql://..) without connecting."""
        self._engine = postgresql_engine(url)
        self.changes = PostgreSQLChanges(partial(connect, url))

    @asynccontextmanager
    async def reading(self) -> AsyncIterator["PostgreSQLSession"]:
        """See Database.reading."""
        note_read()
        joined = joined_session()
        if isinstance(joined, PostgreSQLSession):
            yield joined
            return
        with _translated():
            async with self._engine.connect() as connection:
                await connection.execution_options(isolation_level="AUTOCOMMIT")
                yield PostgreSQLSession(connection)

    @asynccontextmanager
    async def reading_long(self, seconds: float) -> AsyncIterator["PostgreSQLSession"]:
        """See Database.reading_long."""
        note_read()
        with _translated():
            async with self._engine.begin() as connection:
                await connection.execute(_LIMIT_TIME, {"milliseconds": str(round(seconds * 1000))})
                yield PostgreSQLSession(connection)

    @asynccontextmanager
    async def writing(self, *, durable: bool = True) -> AsyncIterator["PostgreSQLSession"]:
        """See Database.writing."""
        try:
            with _translated():
                async with self._engine.begin() as connection:
                    if not durable:
                        await connection.execute(_NOT_DURABLE)
                    yield PostgreSQLSession(connection)
        finally:
            note_written()

    async def close(self) -> None:
        """See Database.close."""
        await self.changes.close()
        await self._engine.dispose()


class PostgreSQLSession:
    """See Session."""

    dialect: Dialect = "postgresql"

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def rows(self, statement: Executable, parameters: Parameters | None = None) -> Sequence[Row[Any]]:
        """See Session.rows."""
        started = perf_counter()
        rows = (await self._connection.execute(statement, parameters)).all()
        observe_statement(statement, started)
        return rows

    async def row(self, statement: Executable, parameters: Parameters | None = None) -> Row[Any] | None:
        """See Session.row."""
        started = perf_counter()
        row = (await self._connection.execute(statement, parameters)).first()
        observe_statement(statement, started)
        return row

    async def run(self, statement: Executable, parameters: Parameters | None = None) -> int:
        """See Session.run."""
        started = perf_counter()
        count = (await self._connection.execute(statement, parameters)).rowcount
        observe_statement(statement, started)
        return count


async def connect(url: str) -> Any:
    """Return a connection of asyncpg for ``url``, in the same format as for ``postgresql_engine``."""
    scheme, _, rest = url.partition("://")
    return await asyncpg.connect(f"{scheme.removesuffix('+asyncpg')}://{rest}")


def postgresql_engine(url: str) -> AsyncEngine:
    """Return an engine for ``url`` in libpq's format: ``?sslmode=require``, several hosts, a socket's folder."""
    scheme, _, rest = url.partition("://")
    return create_async_engine(
        "postgresql+asyncpg://",
        connect_args={"dsn": f"{scheme.removesuffix('+asyncpg')}://{rest}"},
        pool_size=POOL_SIZE,
        max_overflow=POOL_SIZE,
        pool_pre_ping=False,
    )


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (OSError, PoolTimeoutError, OperationalError) as error:
        raise UnavailableError(f"the database does not respond: {error}") from error
    except DBAPIError as error:
        state, cause = str(getattr(error.orig, "sqlstate", "")), error.orig and error.orig.__cause__
        if state == _CANCELLED:
            raise QueryTimeout("the query took longer than its time limit") from error
        if state.startswith(_INVALID_VALUE) or isinstance(cause, ValueError):
            raise InvalidValueError(f"the database rejected a value: {error.orig}") from error
        if state.startswith(_UNAVAILABLE) or isinstance(cause, (*_LOST, InvalidCachedStatementError)):
            raise UnavailableError(f"the database is temporarily unavailable: {_reason(error)}") from error
        raise
    except _LOST as error:
        raise UnavailableError(f"the database is temporarily unavailable: {error}") from error


def _reason(error: DBAPIError) -> str:
    reason = _REASONS.get(str(getattr(error.orig, "sqlstate", "")), "")
    return f"{reason} ({error.orig})" if reason else str(error.orig)


async def in_transaction(url: str, work: Callable[[Connection], T]) -> T:
    """Open the database at ``url`` for synchronous use. Raises UnavailableError."""
    engine = postgresql_engine(url)
    try:
        async with _connected(engine) as connection, connection.begin():
            return await connection.run_sync(work)
    except OSError as error:
        raise UnavailableError(f"the database does not respond: {error}") from error
    except DBAPIError as error:
        raise UnavailableError(f"cannot use the database: {_reason(error)}") from error
    finally:
        await engine.dispose()


@asynccontextmanager
async def _connected(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    try:
        connection = await engine.connect()
    except ValueError as error:
        # The error's text may contain a part of the password.
        raise UnavailableError(
            "invalid database URL: write postgresql://USER:PASSWORD@HOST:PORT/NAME, with %XX for special characters"
        ) from error
    try:
        yield connection
    finally:
        await connection.close()
