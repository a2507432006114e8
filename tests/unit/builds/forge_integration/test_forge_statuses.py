"""The outbox of commit statuses: the forge receives the latest status last, also with several servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from tests.parts.database import Run
from tests.unit.builds.test_queue import QUICK, Bench

from hythe.builds.forge_integration.forge_statuses import CommitStatusSender
from hythe.builds.forge_integration.linked_accounts import LinkedAccountService
from hythe.builds.sql import forge_statuses as rows
from hythe.builds.sql import linked_accounts as account_rows
from hythe.builds.sql.forge_statuses import QueuedStatus, SendResult
from hythe.builds.sql.linked_accounts import LinkedAccount
from hythe.database import Database
from hythe.database.tables.hub import users
from hythe.forges.port import CommitStatus, StatusState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SENT = SendResult(1, None, "")


class FirstStatusWaits:
    """Replaces linked accounts: the first status is delayed until other statuses had a chance to overtake it."""

    def __init__(self) -> None:
        self.received: list[str] = []
        self._delays = iter([0.3])

    @asynccontextmanager
    async def client_of(self, _linked_account_id: int) -> AsyncIterator[FirstStatusWaits]:
        yield self

    async def set_status(self, _name: str, status: CommitStatus) -> None:
        await asyncio.sleep(next(self._delays, 0))
        self.received.append(status.description)


async def account_and_builds(database: Database, count: int) -> tuple[int, list[int]]:
    """Create a linked account and builds; return their ids."""
    bench = Bench(database, QUICK)
    configuration = await bench.set_up("alice/app")
    builds = [await bench.push(configuration, f"{number}" * 40, f"branch-{number}") for number in range(count)]
    user = {"email": "a@example.com", "password_hash": "", "admin": False, "default_visibility": "public"}
    account = LinkedAccount(
        id=0,
        user_id=1,
        kind="github",
        url="https://forge.example.com",
        account_id="1",
        login="octo",
        scopes=(),
        oauth=False,
        problem="",
        created_at=NOW,
    )
    async with database.writing() as session:
        await session.run(users.insert().values(id=1, name="alice", created_at=NOW, **user))
        return await account_rows.put(session, account, "sealed"), builds


def queued(build_id: int, linked_account_id: int, description: str) -> QueuedStatus:
    """A status of the same commit and context, whichever build it belongs to."""
    status = CommitStatus(
        commit="c" * 40, state=StatusState.PENDING, context="hythe/alice/app", description=description, target_url=""
    )
    return QueuedStatus(
        build_id=build_id,
        linked_account_id=linked_account_id,
        forge_repository="src/app",
        status=status,
        version=1,
        attempts=0,
    )


async def put(database: Database, *statuses: QueuedStatus) -> None:
    async with database.writing() as session:
        for status in statuses:
            await rows.put(session, status, NOW)


async def claim(database: Database, now: datetime) -> QueuedStatus:
    async with database.writing() as session:
        [found] = await rows.due(session, now)
        assert await rows.claim(session, found, now, now + timedelta(minutes=2))
    return found


async def settle(database: Database, status: QueuedStatus) -> list[str]:
    """Settle a sent status; return the descriptions that are due afterwards."""
    async with database.writing() as session:
        await rows.settle(session, status, SENT, NOW)
        return [each.status.description for each in await rows.due(session, NOW)]


def test_newer_status_is_resent_after_a_late_older_one(database: Database, run: Run[Any]) -> None:
    """If one server still sends the older status after another sent the newer one, the newer one is sent again."""

    async def send_late() -> tuple[list[str], list[str], list[str]]:
        linked_account_id, [build_id] = await account_and_builds(database, 1)
        await put(database, queued(build_id, linked_account_id, "queued"))
        first = await claim(database, NOW)
        await put(database, queued(build_id, linked_account_id, "building"))
        second = await claim(database, NOW)
        after_newer = await settle(database, second)
        after_older = await settle(database, first)
        return after_newer, after_older, await settle(database, await claim(database, NOW))

    assert run(send_late()) == ([], ["building"], [])


def test_statuses_of_one_commit_are_sent_in_build_order(database: Database, run: Run[Any]) -> None:
    """The status of a newer build is sent only after that of the older build."""

    async def received() -> list[str]:
        linked_account_id, [older, newer] = await account_and_builds(database, 2)
        await put(database, queued(newer, linked_account_id, "newer"), queued(older, linked_account_id, "older"))
        forge = FirstStatusWaits()
        await CommitStatusSender(database, cast("LinkedAccountService", forge), lambda: NOW).send_due()
        return forge.received

    assert run(received()) == ["older", "newer"]
