"""Failed sign-ins by account and network, counted in the database by several servers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from tests.parts.database import Run
from tests.unit.hub.services import Clock

from hythe.database import Database, open_database
from hythe.database.tables.hub import failed_logins
from hythe.hub.errors import TooManyAttempts
from hythe.hub.sign_in import login_throttle
from hythe.hub.sign_in.login_throttle import MAX_FAILURES, WAIT, LoginThrottle

KEY = "a key of these tests"

During = Callable[[], Awaitable[None]]
"""What happens while a password is checked."""


class Servers:
    """Three servers with one database, each with connections of its own."""

    def __init__(self, run: Run[Any], databases: list[Database]) -> None:
        self.run = run
        self.clock = Clock()
        self.databases = databases
        self.throttles = [LoginThrottle(database, KEY, self.clock) for database in databases]
        self.checked = 0

    async def _check(self, outcome: str | Exception | None, pause: float, during: During | None) -> str | None:
        self.checked += 1
        await asyncio.sleep(pause)
        if during is not None:
            await during()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def guess(
        self,
        server: int,
        account: str,
        network: str = "here",
        outcome: str | Exception | None = None,
        pause: float = 0,
        during: During | None = None,
    ) -> Coroutine[Any, Any, str | None]:
        """Sign in at one of the servers; ``outcome`` is that of the check, which takes ``pause`` seconds and awaits
        ``during``.
        """
        return self.throttles[server].attempt(account, network, lambda: self._check(outcome, pause, during))

    def statuses(self, guesses: Callable[[], list[Coroutine[Any, Any, str | None]]]) -> list[str]:
        """Run guesses at the same time: "wrong", "late" or the outcome of each."""

        async def run_all() -> list[Any]:
            return list(await asyncio.gather(*guesses(), return_exceptions=True))

        return [
            "late" if isinstance(each, TooManyAttempts) else "wrong" if each is None else str(each)
            for each in self.run(run_all())
        ]

    def status(self, server: int, account: str, network: str = "here", outcome: str | None = None) -> str:
        """Run one guess."""
        return self.statuses(lambda: [self.guess(server, account, network, outcome)])[0]

    def rows(self) -> int:
        """The number of counters."""

        async def count() -> int:
            async with self.databases[0].reading() as session:
                row = await session.row(select(func.count().label("number")).select_from(failed_logins))
                return int(row.number) if row is not None else 0

        number: int = self.run(count())
        return number


@pytest.fixture
def servers(run: Run[Any], database_url: str, tmp_path: Path) -> Iterator[Servers]:
    """Three servers with one database."""
    databases = [run(open_database(tmp_path, database_url)) for _ in range(3)]
    yield Servers(run, databases)
    for database in databases:
        run(database.close())


def test_servers_count_together(servers: Servers) -> None:
    """Ten failures at any of them, then all refuse the account from that network, and nothing else."""
    seen = [servers.status(number % 3, "ann") for number in range(MAX_FAILURES + 5)]

    assert seen == ["wrong"] * MAX_FAILURES + ["late"] * 5
    assert servers.checked == MAX_FAILURES
    for server in range(3):
        assert servers.status(server, "ann", outcome="ann") == "late"
        assert servers.status(server, "ann", "elsewhere", "ann") == "ann"
        assert servers.status(server, "bob", outcome="bob") == "bob"


def test_a_restart_forgets_nothing(servers: Servers) -> None:
    """A new server on the same database knows the failures."""
    for _ in range(MAX_FAILURES):
        servers.status(0, "ann")
    servers.throttles[0] = LoginThrottle(servers.databases[0], KEY, servers.clock)

    assert servers.status(0, "ann") == "late"


def test_guesses_in_flight_on_all_servers_count(servers: Servers) -> None:
    """60 guesses at once, 20 at each server: no more are checked than one after the other."""
    servers.status(0, "ann")

    seen = servers.statuses(lambda: [servers.guess(number % 3, "ann", pause=0.01) for number in range(60)])

    assert seen.count("wrong") == MAX_FAILURES - 1
    assert servers.checked == MAX_FAILURES


def test_a_slow_first_guess_says_nothing_late(servers: Servers) -> None:
    """It was admitted before any failure and ends after ten others: its client does not learn whether it was right."""

    async def responses_to_the_slow() -> list[Any]:
        begun, ended = asyncio.Barrier(3), asyncio.Event()

        async def during() -> None:
            await begun.wait()
            await ended.wait()

        guesses = (servers.guess(0, "ann", outcome="ann", during=during), servers.guess(2, "ann", during=during))
        slow = [asyncio.ensure_future(each) for each in guesses]
        await begun.wait()
        assert [await servers.guess(1, "ann") for _ in range(MAX_FAILURES)] == [None] * MAX_FAILURES
        ended.set()
        return list(await asyncio.gather(*slow, return_exceptions=True))

    assert [type(each) for each in servers.run(responses_to_the_slow())] == [TooManyAttempts] * 2


def test_a_sign_in_without_failures_writes_nothing(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does it wait for one that does."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a write")

    monkeypatch.setattr(type(servers.databases[0]), "writing", refuse)

    assert servers.status(0, "ann", outcome="ann") == "ann"


def test_failures_expire_and_a_success_resets_them(servers: Servers) -> None:
    """Five minutes after the last one; nine failures and a success, as often as one likes."""
    for _ in range(MAX_FAILURES):
        servers.status(0, "ann")
    servers.clock.forward(seconds=WAIT.total_seconds() - 1)
    assert servers.status(1, "ann") == "late"
    servers.clock.forward(seconds=2)

    for _ in range(3):
        seen = [servers.status(1, "ann") for _ in range(MAX_FAILURES - 1)]
        assert [*seen, servers.status(2, "ann", outcome="ann")] == ["wrong"] * (MAX_FAILURES - 1) + ["ann"]


@pytest.mark.parametrize("error", [TooManyAttempts(7), ValueError("the database is away")])
def test_a_check_that_did_not_happen_does_not_count(servers: Servers, error: Exception) -> None:
    """Because another limit or an error came first."""
    servers.status(0, "ann")
    for _ in range(2 * MAX_FAILURES):
        with pytest.raises(type(error)):
            servers.run(servers.guess(0, "ann", outcome=error))

    assert servers.status(0, "ann", outcome="ann") == "ann"


def test_one_network_does_not_guess_at_every_account(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures at many accounts add up within five minutes of the first; signing in to an own account resets none."""
    monkeypatch.setattr(login_throttle, "MAX_FAILURES_PER_ADDRESS", 30)
    for number in range(30):
        assert servers.status(number % 3, f"name-{number}") == "wrong"
        if number < 29:
            assert servers.status(number % 3, "own", outcome="own") == "own"

    assert servers.status(0, "ann", outcome="ann") == "late"
    assert servers.status(0, "ann", "elsewhere", "ann") == "ann"
    servers.clock.forward(seconds=WAIT.total_seconds() + 1)
    assert servers.status(0, "ann", outcome="ann") == "ann"


def test_failures_that_are_far_apart_do_not_add_up(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that tries an old password all day does not lock out everyone in its network."""
    monkeypatch.setattr(login_throttle, "MAX_FAILURES_PER_ADDRESS", 30)
    for number in range(70):
        assert servers.status(0, f"name-{number}") == "wrong"
        servers.clock.now += WAIT / 29


def test_the_table_is_bounded_and_strangers_lock_no_one_out(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever shares a bucket replaces its count: at worst, a count starts again."""
    original = servers.throttles[0]._keys

    def crowded(account: str, network: str) -> Any:
        keys = original(account, network)
        own = type(keys.own)(keys.own.bucket % 4, keys.own.client)
        return type(keys)(own, type(keys.network)(65536 + keys.network.bucket % 4, keys.network.client))

    for throttle in servers.throttles:
        monkeypatch.setattr(throttle, "_keys", crowded)
    for number in range(60):
        servers.status(number % 3, f"name-{number}", f"10.0.0.{number}")

    assert servers.rows() <= 8
    assert servers.status(0, "ann", "192.0.2.1", "ann") == "ann"


def test_the_table_contains_neither_names_nor_networks(servers: Servers) -> None:
    """Only keyed hashes, which other keys do not find."""
    for _ in range(MAX_FAILURES):
        servers.status(0, "ann", "192.0.2.1")
    servers.throttles[1] = LoginThrottle(servers.databases[1], "another key", servers.clock)

    assert servers.status(1, "ann", "192.0.2.1", "ann") == "ann"
    assert servers.status(0, "ann", "192.0.2.1", "ann") == "late"
    servers.clock.now += timedelta(hours=1)
    assert servers.status(0, "ann", "192.0.2.1", "ann") == "ann"
