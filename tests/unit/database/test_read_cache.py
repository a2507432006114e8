"""Read caches on both engines: what they keep, what they drop, and which position a request gets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import bindparam, select, text, update
from tests.parts.database import Run

from hythe.database import Database, Session, UnavailableError, open_database, reads_in
from hythe.database.change_retention import ChangeRetention
from hythe.database.changes import EVERYTHING, MAX_TOPICS, NAMES, tracked_reads
from hythe.database.postgresql import connect
from hythe.database.postgresql_changes import PostgreSQLChanges
from hythe.database.read_cache import Entries, Kept, ReadCache
from hythe.database.tables.hub import namespaces

KIND = select(namespaces.c.kind).where(namespaces.c.name == bindparam("name"))


async def load(name: str, session: Session) -> str | None:
    """Read the kind of a namespace."""
    row = await session.row(KIND, {"name": name})
    return None if row is None else str(row.kind)


async def set_kind(database: Database, kind: str) -> None:
    """Commit a change, which notes EVERYTHING, because the namespace has no owner."""
    async with database.writing() as session:
        await session.run(update(namespaces).where(namespaces.c.name == "library").values(kind=kind))


async def note(database: Database, *topics: int) -> None:
    """Commit rows of ``changes``, as triggers do."""
    position = "" if database.dialect == "sqlite" else "pg_current_xact_id(), "
    columns = "topic" if database.dialect == "sqlite" else "position, topic"
    async with database.writing() as session:
        for topic in topics:
            await session.run(text(f"INSERT INTO changes ({columns}) VALUES ({position}{topic})"))


class Kinds:
    """A cache of kinds that depend on the topics 1 and NAMES, and how often it had to read."""

    def __init__(self, database: Database) -> None:
        self.reads = 0
        self.cache = ReadCache[str, str | None](database, 1000, lambda _name, _kind: Kept((1, NAMES), 100), "test")

    async def get(self, name: str = "library", first: Callable[[], Awaitable[None]] | None = None) -> str | None:
        """Return a kind; ``first`` is called between the position and the end of the read."""

        async def read(session: Session) -> str | None:
            self.reads += 1
            found = await load(name, session)
            if first is not None:
                await first()
            return found

        return await self.cache.get(name, read)


def test_a_value_is_read_once_until_one_of_its_topics_changes(database: Database, run: Run[Any]) -> None:
    """The changes of other topics drop nothing."""
    kinds = Kinds(database)

    async def scenario() -> list[int]:
        reads = []
        for topics in ((), (2, -1), (1,), (NAMES, 2), (EVERYTHING,), tuple(range(2, MAX_TOPICS + 3)), ()):
            await note(database, *topics)
            assert await kinds.get() == "curated"
            reads.append(kinds.reads)
        return reads

    assert run(scenario()) == [1, 1, 2, 3, 4, 5, 5]


def test_another_process_changes_what_is_cached(
    database: Database, run: Run[Any], database_url: str, tmp_path: Path
) -> None:
    """The next read returns what the other has committed."""
    kinds = Kinds(database)

    async def scenario() -> list[str | None]:
        other = await open_database(tmp_path, database_url)
        seen = [await kinds.get()]
        for kind in ("user", "curated"):
            await set_kind(other, kind)
            seen.append(await kinds.get())
        await other.close()
        return seen

    assert run(scenario()) == ["curated", "user", "curated"]


def test_a_change_during_a_read_wins(database: Database, run: Run[Any]) -> None:
    """What was read before the change is not cached after it, whether or not anyone has noticed the change yet."""

    async def scenario(notice: bool) -> str | None:
        kinds = Kinds(database)

        async def change() -> None:
            await set_kind(database, "user")
            if notice:
                await database.changes.position()

        assert await kinds.get(first=change) == "curated"
        found = await kinds.get()
        await set_kind(database, "curated")
        return found

    assert [run(scenario(notice)) for notice in (True, False)] == ["user", "user"]


def test_a_transaction_caches_nothing(database: Database, run: Run[Any]) -> None:
    """Reads that joined it may see what is rolled back later."""
    kinds = Kinds(database)

    async def roll_back() -> None:
        async with database.writing() as session:
            await session.run(update(namespaces).values(kind="user"))
            with reads_in(session):
                assert await kinds.get() == ("user" if database.dialect == "postgresql" else "curated")
            raise ZeroDivisionError

    async def scenario() -> str | None:
        with pytest.raises(ZeroDivisionError):
            await roll_back()
        return await kinds.get()

    assert run(scenario()) == "curated"


def test_tracked_reads_know_what_a_result_depends_on(database: Database, run: Run[Any]) -> None:
    """They are incomplete after any read that no cache made, and look again after a write."""
    kinds = Kinds(database)

    async def scenario() -> None:
        for _ in ("read", "cached"):
            with tracked_reads() as reads:
                await kinds.get()
            assert (reads.topics, reads.complete) == ({1, NAMES}, True)
        with tracked_reads() as reads:
            async with database.reading() as session:
                await load("library", session)
            await kinds.get()
        assert not reads.complete
        with tracked_reads() as reads:
            assert await kinds.get() == "curated"
            await set_kind(database, "user")
            assert await kinds.get() == "user"
        assert not reads.complete

    run(scenario())


def test_room_is_made_for_new_values() -> None:
    """The oldest go first; what is larger than everything together is not stored."""
    entries = Entries[str, str](30)
    for key in "abc":
        entries.put(key, key, Kept((1, ord(key)), 10))
    entries.put("a", "new", Kept((1,), 10))
    entries.put("d", "d", Kept((2,), 10))
    entries.put("e", "e", Kept((2,), 31))

    assert [key for key in "abcde" if entries.get(key)] == ["a", "c", "d"]
    entries.forget(1)
    assert (len(entries), entries.size) == (1, 10)
    entries.forget(2)
    assert (len(entries), entries.size) == (0, 0)


def test_old_rows_are_deleted(database: Database, run: Run[Any]) -> None:
    """A server that has looked since keeps its cache; one that has not forgets everything, and stays right."""
    retention = ChangeRetention(database, 0)
    kinds = Kinds(database)

    async def count() -> int:
        async with database.reading() as session:
            return int((await session.rows(text("SELECT count(*) AS rows FROM changes")))[0].rows)

    async def scenario() -> None:
        await note(database, 2, 3)
        await kinds.get()
        for _ in range(2):
            await retention.delete_old()
        assert await count() == 0
        await kinds.get()
        assert kinds.reads == 1

        await set_kind(database, "user")
        for _ in range(2):
            await retention.delete_old()
        assert await count() == 0
        assert await kinds.get() == "user"

    run(scenario())


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_rows_of_a_running_transaction_are_not_missed(database: Database, run: Run[Any]) -> None:
    """Transactions commit in another order than they began, and rows are not deleted before they are seen."""
    kinds = Kinds(database)
    retention = ChangeRetention(database, 0)

    async def scenario() -> None:
        async with database.writing() as session:
            await session.run(update(namespaces).values(kind="user"))
            for _ in range(3):
                await note(database, 2)
                await retention.delete_old()
                assert await kinds.get() == "curated"
        for _ in range(2):
            await retention.delete_old()
        assert await kinds.get() == "user"
        assert kinds.reads == 2

    run(scenario())


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_positions_of_another_server_expire(database: Database, run: Run[Any]) -> None:
    """A dump restored elsewhere has rows of transactions that are still to come there."""
    kinds = Kinds(database)

    async def scenario() -> list[int]:
        async with database.writing() as session:
            await session.run(text("UPDATE change_horizon SET deleted_to = '9000000', next = '9000000'"))
            await session.run(text("INSERT INTO changes VALUES ('9000001', 1)"))
        reads = []
        for _ in range(3):
            await kinds.get()
            reads.append(kinds.reads)
        await ChangeRetention(database, 0).delete_old()
        for _ in range(3):
            await kinds.get()
            reads.append(kinds.reads)
        return reads

    reads = run(scenario())

    assert reads[:3] == [1, 2, 3]
    assert len(set(reads[3:])) == 1


class HeldChanges(PostgreSQLChanges):
    """Queries whose results arrive late."""

    def __init__(self, url: str) -> None:
        super().__init__(partial(connect, url))
        self.asked = 0
        self.begun = asyncio.Event()
        self.held = asyncio.Event()
        self.held.set()

    async def _ask(self) -> int | None:
        self.asked += 1
        self.begun.set()
        position = await super()._ask()
        await self.held.wait()
        return position


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_requests_share_the_next_query(database: Database, database_url: str, run: Run[Any]) -> None:
    """Never one that is running already: it may have begun before a commit that was acknowledged since."""

    async def scenario() -> tuple[list[int | None], list[int | None], int]:
        changes = HeldChanges(database_url)
        await changes.position()
        changes.held.clear()
        changes.begun.clear()
        early = [asyncio.create_task(changes.position()) for _ in range(3)]
        await changes.begun.wait()
        await note(database, 7)
        late = [asyncio.create_task(changes.position()) for _ in range(3)]
        await asyncio.sleep(0.05)
        changes.held.set()
        found = await asyncio.gather(*early), await asyncio.gather(*late)
        await changes.close()
        return (*found, changes.asked)

    early, late, asked = run(scenario())

    assert len(set(early)) == len(set(late)) == 1
    assert early[0] != late[0]
    assert asked == 3


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_query_that_takes_too_long_fails(database: Database, run: Run[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """All that wait for it get an error, and nothing cached; later ones are answered again."""
    monkeypatch.setattr("hythe.database.postgresql_changes.QUERY_TIMEOUT", 0.3)
    kinds = Kinds(database)

    async def scenario() -> list[object]:
        await kinds.get()
        async with database.writing() as session:
            await session.run(text("LOCK TABLE changes IN ACCESS EXCLUSIVE MODE"))
            failures = await asyncio.gather(*(kinds.get() for _ in range(3)), return_exceptions=True)
        assert kinds.reads == 1
        assert await kinds.get() == "curated"
        assert kinds.reads == 2
        return list(failures)

    assert [type(failure) for failure in run(scenario())] == [UnavailableError] * 3


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_lost_connection_is_replaced(database: Database, run: Run[Any]) -> None:
    """Nothing fails, and everything is forgotten: the new connection may be to another server."""
    kinds = Kinds(database)
    end = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
        "AND datname = current_database()"
    )

    async def scenario() -> int:
        await kinds.get()
        async with database.reading() as session:
            await session.rows(end)
        assert await asyncio.gather(*(kinds.get() for _ in range(3))) == ["curated"] * 3
        before = kinds.reads
        await kinds.get()
        assert kinds.reads == before
        return before

    assert run(scenario()) > 1


def test_requests_fail_while_no_database_responds(run: Run[Any]) -> None:
    """Each gets an error, and none hangs."""
    changes = PostgreSQLChanges(partial(connect, "postgresql://hythe@127.0.0.1:1/none"))

    async def scenario() -> list[Any]:
        return await asyncio.gather(*(changes.position() for _ in range(3)), return_exceptions=True)

    assert [type(failure) for failure in run(scenario())] == [UnavailableError] * 3
