"""A statement does the same the first time, through SQLAlchemy, and ever after, compiled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import bindparam, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import IntegrityError

from hythe.database import Database, Session, open_database
from hythe.database.sqlite_statements import sqlite_statements
from hythe.database.tables.registry import blobs

NOON = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)

Work = Callable[[Session], Coroutine[Any, Any, Any]]
Run = Callable[[Work], Any]

ADD = insert(blobs)
ALL = select(blobs).order_by(blobs.c.digest)
ONE = select(blobs).where(blobs.c.digest == bindparam("digest"))
FIRST = select(blobs.c.digest).order_by(blobs.c.digest).limit(bindparam("limit"))
AMONG = select(func.count().label("number")).where(blobs.c.digest.in_(bindparam("digests", expanding=True)))
FREE = (
    update(blobs).where(blobs.c.digest == bindparam("digest_")).values(free_after=bindparam("at"), deleting_since=None)
)
REMOVE = delete(blobs).where(blobs.c.digest == bindparam("digest"))
RENEW = sqlite_insert(blobs).on_conflict_do_update(index_elements=[blobs.c.digest], set_={"size": 7})


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Runs work in a transaction, on a database with two blobs."""
    with asyncio.Runner() as runner:
        database: Database = runner.run(open_database(tmp_path))

        async def transaction(work: Work) -> Any:
            async with database.writing() as session:
                return await work(session)

        def call(work: Work) -> Any:
            return runner.run(transaction(work))

        call(lambda session: session.run(ADD, [blob("a"), blob("b", free_after=NOON)]))
        yield call
        runner.run(database.close())


def blob(digest: str, **fields: Any) -> dict[str, Any]:
    """A row."""
    return {"digest": digest, "size": 5, "stored_at": NOON, "free_after": None, **fields}


def add(row: dict[str, Any]) -> Work:
    """Adds a row."""
    return lambda session: session.run(ADD, row)


def thrice(run: Run, work: Work) -> list[Any]:
    """What the same work returns the first, second and third time."""
    return [run(work) for _ in range(3)]


def test_rows(run: Run) -> None:
    """Rows are the same by name, by place and as a whole; times are aware, and nothing is nothing."""
    first, second, third = thrice(run, lambda session: session.rows(ALL))

    assert [tuple(row) for row in first] == [tuple(row) for row in second] == [tuple(row) for row in third]
    assert second[0].stored_at == second[0][2] == NOON
    assert second[0].free_after is None
    assert second[1].free_after == NOON
    assert second[1].stored_at.tzinfo is not None
    assert [row.digest for row in third] == ["a", "b"]


def test_one_row(run: Run) -> None:
    """The first row, or None."""
    found = thrice(run, lambda session: session.row(ONE, {"digest": "b"}))
    missing = thrice(run, lambda session: session.row(ONE, {"digest": "z"}))

    assert [row.digest for row in found] == ["b", "b", "b"]
    assert missing == [None, None, None]


def test_a_limit_may_differ_each_time(run: Run) -> None:
    """What is a parameter is read anew each time."""

    def rows(limit: int) -> Work:
        return lambda session: session.rows(FIRST, {"limit": limit})

    numbers = [len(run(rows(limit))) for limit in (1, 2, 1, 0, 2)]

    assert numbers == [1, 2, 1, 0, 2]


def test_a_list_of_any_length(run: Run) -> None:
    """A statement whose text depends on its values goes on working."""

    def among(*digests: str) -> Work:
        return lambda session: session.row(AMONG, {"digests": digests})

    lists = (among("a"), among("a", "b"), among("a", "b", "c"), among(), among("c"))
    counts = [run(work).number for work in lists]

    assert counts == [1, 2, 2, 0, 0]


def test_changes_are_counted(run: Run) -> None:
    """An update and a delete return how many rows they changed."""
    freed = thrice(run, lambda session: session.run(FREE, {"digest_": "a", "at": NOON + timedelta(days=1)}))
    removed = thrice(run, lambda session: session.run(REMOVE, {"digest": "a"}))

    assert freed == [1, 1, 1]
    assert removed == [1, 0, 0]


def test_other_columns_another_time(run: Run) -> None:
    """An insert takes other columns than before, one row or many."""
    for digest in ("c0", "c1", "c2"):
        run(add(blob(digest)))
    run(lambda session: session.run(ADD, {"digest": "d", "size": 1, "stored_at": NOON}))
    run(lambda session: session.run(ADD, [blob("e"), blob("f")]))

    digests = [row.digest for row in run(lambda session: session.rows(ALL))]

    assert digests == ["a", "b", "c0", "c1", "c2", "d", "e", "f"]


def test_an_upsert(run: Run) -> None:
    """What is there is changed, what is not is added."""
    thrice(run, lambda session: session.run(RENEW, {"digest": "a", "size": 9, "stored_at": NOON}))

    assert run(lambda session: session.row(ONE, {"digest": "a"})).size == 7


def test_a_breach_of_a_constraint(run: Run) -> None:
    """It is an IntegrityError each time."""
    for _ in range(3):
        with pytest.raises(IntegrityError):
            run(lambda session: session.run(ADD, blob("a")))


def test_times_of_other_zones_and_of_none(run: Run) -> None:
    """A time is kept as the moment that it is; one without a zone is refused each time."""
    east = NOON.astimezone(timezone(timedelta(hours=5)))
    for digest in ("z0", "z1", "z2"):
        run(add(blob(digest, stored_at=east)))
        with pytest.raises(Exception, match="no time zone"):
            run(lambda session: session.run(ADD, blob("y", stored_at=NOON.replace(tzinfo=None))))

    rows = run(lambda session: session.rows(ALL))

    assert {row.stored_at for row in rows} == {NOON}


def test_a_statement_made_for_one_call_is_not_kept() -> None:
    """Statements that nobody holds any more take no memory."""
    statements = sqlite_statements()
    for _ in range(10):
        statement = select(blobs)
        statements.get(statement, None)
        assert statements.get(statement, None) is not None
    del statement

    assert len(statements) == 0
