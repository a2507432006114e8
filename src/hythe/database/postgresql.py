"""The database port for PostgreSQL, with asyncpg; SQLAlchemy compiles the statements (see ``compiled``)."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from time import perf_counter
from typing import Any, TypeVar

import asyncpg
from sqlalchemy import Connection, Executable, NullPool, Row
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from hythe.database.changes import note_read, note_written
from hythe.database.compiled import CompiledStatements, RowMaker, row_maker_for
from hythe.database.joined_reads import joined_session
from hythe.database.port import Dialect, Parameters, UnavailableError
from hythe.database.postgresql_changes import PostgreSQLChanges
from hythe.database.postgresql_errors import reason
from hythe.database.postgresql_pool import HeldConnection, PostgreSQLPool
from hythe.telemetry.statements import observe_statement

T = TypeVar("T")

# Connections of a pool commit without waiting for the disk, so that a single statement can be a transaction. Durable
# transactions set what the operator has configured.
_NOT_DURABLE = "SET synchronous_commit = off"
_BEGIN = "BEGIN; SET LOCAL synchronous_commit TO DEFAULT"
_BEGIN_NOT_DURABLE = "BEGIN"

# Long reads depend on their values: a plan for any value could read a thousand times as much. They are short enough
# that compiling them costs more than it saves.
_BEGIN_LONG = (
    "BEGIN; SET LOCAL statement_timeout = {milliseconds}; SET LOCAL plan_cache_mode = force_custom_plan; "
    "SET LOCAL jit = off"
)


class _Dialect(PGDialect_asyncpg):
    """As SQLAlchemy sets it up when it connects to a server; connections decode no JSON."""

    supports_statement_cache = True
    supports_native_json_deserialization = False
    _backslash_escapes = False


_DIALECT: Any = _Dialect()  # type: ignore[no-untyped-call]


def postgresql_statements() -> CompiledStatements:
    """Return an empty cache of statements for PostgreSQL."""
    return CompiledStatements(_DIALECT)


class PostgreSQLDatabase:
    """A pool of connections to one PostgreSQL database."""

    dialect: Dialect = "postgresql"

    def __init__(self, url: str) -> None:
        """Prepare a pool for ``url`` (postgresql://..) without connecting."""
        self._pool = PostgreSQLPool(partial(_connect_pooled, url))
        self._statements = postgresql_statements()
        self.changes = PostgreSQLChanges(partial(connect, url))

    @asynccontextmanager
    async def reading(self) -> AsyncIterator["PostgreSQLSession"]:
        """See Database.reading."""
        note_read()
        joined = joined_session()
        if isinstance(joined, PostgreSQLSession):
            yield joined
            return
        held = HeldConnection(self._pool, await self._pool.acquire(), retries=True)
        try:
            yield PostgreSQLSession(held, self._statements)
        finally:
            held.release()

    @asynccontextmanager
    async def reading_long(self, seconds: float) -> AsyncIterator["PostgreSQLSession"]:
        """See Database.reading_long."""
        note_read()
        async with self._transaction(_BEGIN_LONG.format(milliseconds=round(seconds * 1000))) as session:
            yield session

    @asynccontextmanager
    async def writing(self, *, durable: bool = True) -> AsyncIterator["PostgreSQLSession"]:
        """See Database.writing."""
        try:
            async with self._transaction(_BEGIN if durable else _BEGIN_NOT_DURABLE) as session:
                yield session
        finally:
            note_written()

    @asynccontextmanager
    async def writing_once(self) -> AsyncIterator["PostgreSQLSession"]:
        """See Database.writing_once."""
        held = HeldConnection(self._pool, await self._pool.acquire(), retries=False)
        try:
            yield PostgreSQLSession(held, self._statements)
        finally:
            held.release()
            note_written()

    @asynccontextmanager
    async def _transaction(self, script: str) -> AsyncIterator["PostgreSQLSession"]:
        held = await HeldConnection.begun(self._pool, script)
        try:
            yield PostgreSQLSession(held, self._statements)
            await held.commit()
        except Exception:
            await held.roll_back()
            raise
        finally:
            held.release()  # which rolls back in the background after a cancellation

    async def close(self) -> None:
        """See Database.close."""
        await self.changes.close()
        await self._pool.close()


class PostgreSQLSession:
    """See Session."""

    dialect: Dialect = "postgresql"

    def __init__(self, held: HeldConnection, statements: CompiledStatements) -> None:
        self._held = held
        self._statements = statements

    async def rows(self, statement: Executable, parameters: Parameters | None = None) -> Sequence[Row[Any]]:
        """See Session.rows."""
        records, _, row = await self._fetch(statement, parameters)
        return [row(record) for record in records]

    async def row(self, statement: Executable, parameters: Parameters | None = None) -> Row[Any] | None:
        """See Session.row."""
        records, _, row = await self._fetch(statement, parameters)
        return row(records[0]) if records else None

    async def run(self, statement: Executable, parameters: Parameters | None = None) -> int:
        """See Session.run. The number is -1 for a list of parameters."""
        if parameters is not None and not isinstance(parameters, Mapping) and len(parameters) != 1:
            await self._fetch_many(statement, parameters)
            return -1
        _, prepared, _ = await self._fetch(statement, parameters)
        count = prepared.get_statusmsg().rpartition(" ")[2]
        return int(count) if count.isdigit() else -1

    async def _fetch(self, statement: Executable, parameters: Parameters | None) -> tuple[list[Any], Any, RowMaker]:
        """Run a statement; return its records, the prepared statement, and what makes rows of the records."""
        started = perf_counter()
        compiled = self._statements.get(statement, parameters)
        given = parameters if isinstance(parameters, Mapping) else parameters[0] if parameters else {}
        row: RowMaker | None
        if compiled is not None:
            text, arguments, row = compiled.text, compiled.arguments(given), compiled.row
        else:
            text, arguments, row = self._statements.for_call(statement, given)
        records, prepared = await self._held.fetch(text, arguments)
        observe_statement(statement, started)
        return records, prepared, row or row_maker_for([each.name for each in prepared.get_attributes()])

    async def _fetch_many(self, statement: Executable, parameters: Sequence[Mapping[str, Any]]) -> None:
        if not parameters:
            return
        started = perf_counter()
        calls = self._statements.for_calls(statement, parameters)
        await self._held.fetch_many(calls[0].text, [call.arguments for call in calls])
        observe_statement(statement, started)


async def connect(url: str) -> Any:
    """Return a connection of asyncpg for ``url``, in the same format as for ``postgresql_engine``."""
    scheme, _, rest = url.partition("://")
    return await asyncpg.connect(f"{scheme.removesuffix('+asyncpg')}://{rest}")


async def _connect_pooled(url: str) -> Any:
    connection = await connect(url)
    try:
        await connection.execute(_NOT_DURABLE)
    except BaseException:
        connection.terminate()
        raise
    return connection


def postgresql_engine(url: str) -> AsyncEngine:
    """Return an engine for migrations at ``url``, in libpq's format: ``?sslmode=require``, several hosts, a socket."""
    scheme, _, rest = url.partition("://")
    return create_async_engine(
        "postgresql+asyncpg://",
        connect_args={"dsn": f"{scheme.removesuffix('+asyncpg')}://{rest}"},
        poolclass=NullPool,
    )


async def in_transaction(url: str, work: Callable[[Connection], T]) -> T:
    """Open the database at ``url`` for synchronous use. Raises UnavailableError."""
    engine = postgresql_engine(url)
    try:
        async with _connected(engine) as connection, connection.begin():
            return await connection.run_sync(work)
    except OSError as error:
        raise UnavailableError(f"the database does not respond: {error}") from error
    except DBAPIError as error:
        raise UnavailableError(f"cannot use the database: {reason(error.orig or error)}") from error
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
