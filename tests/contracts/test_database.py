"""The database port's contract, on SQLite and on PostgreSQL."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Select, bindparam, func, insert, literal, select
from sqlalchemy.exc import IntegrityError
from tests.parts.database import Run

from hythe.database import Database, InvalidValueError, QueryTimeout, Session, UnavailableError, open_database
from hythe.database.tables.hub import namespaces, sign_ups


async def _add(session: Session, *names: str) -> None:
    rows = [{"name": name, "kind": "user", "user_id": None} for name in names]
    await session.run(insert(namespaces), rows)


async def _names(database: Database) -> list[str]:
    async with database.reading() as session:
        rows = await session.rows(select(namespaces.c.name).where(namespaces.c.kind == "user"))
    return sorted(row.name for row in rows)


def test_what_was_committed_is_read(database: Database, run: Run[Any]) -> None:
    """A transaction whose block ends well is seen by later readers; both degrees of durability."""

    async def scenario() -> list[str]:
        async with database.writing() as session:
            await _add(session, "one")
        async with database.writing(durable=False) as session:
            await _add(session, "two")
        return await _names(database)

    assert run(scenario()) == ["one", "two"]


def test_what_raises_leaves_nothing(database: Database, run: Run[Any]) -> None:
    """A transaction whose block raises is rolled back whole, and the database goes on working."""

    async def scenario() -> list[str]:
        with pytest.raises(ZeroDivisionError):  # noqa: PT012
            async with database.writing() as session:
                await _add(session, "one")
                raise ZeroDivisionError
        async with database.writing() as session:
            await _add(session, "two")
        return await _names(database)

    assert run(scenario()) == ["two"]


def test_breach_of_a_constraint(database: Database, run: Run[Any]) -> None:
    """A name that is taken comes through as IntegrityError, and undoes its transaction."""

    async def scenario() -> list[str]:
        async with database.writing() as session:
            await _add(session, "one")
        with pytest.raises(IntegrityError):  # noqa: PT012
            async with database.writing() as session:
                await _add(session, "two")
                await _add(session, "one")
        return await _names(database)

    assert run(scenario()) == ["one"]


def test_many_writers_at_once(database: Database, run: Run[Any]) -> None:
    """Transactions that are begun together all happen, each on its own."""

    async def write(number: int) -> None:
        async with database.writing() as session:
            await _add(session, f"n{number}")

    async def scenario() -> int:
        await asyncio.gather(*(write(number) for number in range(30)))
        return len(await _names(database))

    assert run(scenario()) == 30


def test_a_reader_does_not_see_what_is_not_committed(database: Database, run: Run[Any]) -> None:
    """Readers go on beside a writer, and see nothing of it until it has committed."""

    async def scenario() -> tuple[list[str], list[str]]:
        async with database.writing() as session:
            await _add(session, "one")
            during = await _names(database)
        return during, await _names(database)

    assert run(scenario()) == ([], ["one"])


def test_cancelled_writer(database: Database, run: Run[Any]) -> None:
    """A transaction that is cancelled in its block is rolled back, and the next one can begin."""

    async def slow() -> None:
        async with database.writing() as session:
            await _add(session, "one")
            await asyncio.sleep(60)

    async def scenario() -> list[str]:
        task = asyncio.create_task(slow())
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with database.writing() as session:
            await _add(session, "two")
        return await _names(database)

    assert run(scenario()) == ["two"]


def test_how_many_rows_changed(database: Database, run: Run[Any]) -> None:
    """``run`` returns how many rows a statement changed."""

    async def scenario() -> tuple[int, int]:
        async with database.writing() as session:
            await _add(session, "one", "two")
            changed = await session.run(namespaces.update().where(namespaces.c.kind == "user").values(kind="other"))
            return changed, await session.run(namespaces.delete().where(namespaces.c.name == "nobody"))

    assert run(scenario()) == (2, 0)


def test_two_open_at_once(database: Database, database_url: str, run: Run[Any], tmp_path: Path) -> None:
    """What one process commits, another that has the database open reads; and both write."""

    async def scenario() -> tuple[list[str], list[str]]:
        other = await open_database(tmp_path, database_url)
        try:
            async with database.writing() as session:
                await _add(session, "one")
            seen = await _names(other)
            async with other.writing() as session:
                await _add(session, "two")
            return seen, await _names(database)
        finally:
            await other.close()

    assert run(scenario()) == (["one"], ["one", "two"])


def test_a_position_tells_of_commits(database: Database, database_url: str, run: Run[Any], tmp_path: Path) -> None:
    """It changes with a commit that cached values can depend on, here or by another process, and with no other."""

    async def scenario() -> list[int | None]:
        other = await open_database(tmp_path, database_url)
        try:
            positions = [await database.changes.position()]
            for each in (database, other):
                async with each.writing() as session:
                    await _add(session, f"by {each is other}")
                positions.append(await database.changes.position())
            async with other.writing() as session:
                await session.run(insert(sign_ups).values(network="192.0.2.1", accounts=1, since=datetime.now(UTC)))
            return [*positions, await database.changes.position()]
        finally:
            await other.close()

    before, own, others, unrelated = run(scenario())

    assert len({before, own, others}) == 3
    assert unrelated == others


def test_no_answer_is_unavailable(run: Run[Any], tmp_path: Path) -> None:
    """A database that is not there is an UnavailableError that says so."""
    with pytest.raises(UnavailableError):
        run(open_database(tmp_path, "postgresql://hythe@127.0.0.1:1/none"))


def test_references_hold(database: Database, run: Run[Any]) -> None:
    """A row that points at one that is not there is refused."""

    async def scenario() -> list[str]:
        with pytest.raises(IntegrityError):
            async with database.writing() as session:
                await session.run(insert(namespaces).values(name="a", kind="user", user_id=12345))
        return await _names(database)

    assert run(scenario()) == []


@pytest.mark.parametrize("value", ["a\0b", "\ud800", 2**63, -(2**63) - 1], ids=ascii)
def test_what_cannot_be_kept(database: Database, run: Run[Any], value: str | int) -> None:
    """A value that no column takes is refused before anything happens, also when it is only looked for."""
    column = namespaces.c.name if isinstance(value, str) else namespaces.c.user_id
    known = select(namespaces).where(column == bindparam("value"))

    async def scenario() -> list[str]:
        for _ in range(3):  # the first time a statement is met is not like the others
            with pytest.raises(InvalidValueError):
                async with database.reading() as session:
                    await session.rows(known, {"value": value})
        with pytest.raises(InvalidValueError):
            async with database.reading() as session:
                await session.row(select(namespaces).where(column == value))
        with pytest.raises(InvalidValueError):  # noqa: PT012
            async with database.writing() as session:
                await _add(session, "one")
                await session.run(namespaces.update().values({column: value}))
        async with database.writing() as session:
            await _add(session, "two")
        return await _names(database)

    assert run(scenario()) == ["two"]


def _endless() -> Select[Any]:
    """A query that never ends and returns one row."""
    numbers = select(literal(1).label("n")).cte(recursive=True)
    numbers = numbers.union_all(select(numbers.c.n + 1))
    return select(func.max(numbers.c.n))


def test_long_reads_read_what_was_committed(database: Database, run: Run[Any]) -> None:
    """A long read sees what was committed before it began, and takes the same statements and values."""

    async def scenario() -> tuple[list[str], str]:
        async with database.writing() as session:
            await _add(session, "one", "two")
        statement = select(namespaces.c.name).where(namespaces.c.name == bindparam("name"))
        async with database.reading_long(30) as session:
            rows = [row.name for name in ("one", "two") for row in await session.rows(statement, {"name": name})]
            row = await session.row(statement, {"name": "two"})
        assert row is not None
        return rows, row.name

    assert run(scenario()) == (["one", "two"], "two")


def test_long_reads_end(database: Database, run: Run[Any]) -> None:
    """A long read ends at its limit; others go on while it runs, and its session can be used again."""

    async def scenario() -> tuple[list[str], list[str]]:
        async with database.writing() as session:
            await _add(session, "one")
        with pytest.raises(QueryTimeout):  # noqa: PT012
            async with database.reading_long(0.3) as session:
                endless = asyncio.create_task(session.rows(_endless()))
                during = await _names(database)
                assert not endless.done()
                await endless
        async with database.reading_long(30) as session:
            rows = await session.rows(select(namespaces.c.name).where(namespaces.c.kind == "user"))
        return during, [row.name for row in rows]

    assert run(scenario()) == (["one"], ["one"])


def test_cancelled_long_reads(database: Database, run: Run[Any]) -> None:
    """More long reads than there are threads or connections are cancelled, and the next ones run."""

    async def endless() -> None:
        async with database.reading_long(60) as session:
            await session.rows(_endless())

    async def scenario() -> int:
        tasks = [asyncio.create_task(endless()) for _ in range(6)]
        await asyncio.sleep(0.2)
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError) for each in ended)
        async with database.reading_long(30) as session:
            return len(await session.rows(select(literal(1))))

    assert run(scenario()) == 1
