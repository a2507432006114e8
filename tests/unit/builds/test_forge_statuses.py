"""The outbox of commit statuses: the forge hears last what is so last, also with several servers; on each database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from tests.parts.database import Run
from tests.unit.builds.test_queue import QUICK, Bench

from hythe.builds.configuration import Forge
from hythe.builds.forge_statuses import StatusSender
from hythe.builds.linked_accounts import LinkedAccounts
from hythe.builds.sql import forge_statuses as rows
from hythe.builds.sql import linked_accounts as link_rows
from hythe.builds.sql.forge_statuses import Outgoing, Sent
from hythe.builds.sql.linked_accounts import LinkedAccount
from hythe.database import Database
from hythe.database.tables.hub import users
from hythe.forges.port import CommitStatus, StatusState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DONE = Sent(1, None, "")


class SlowAtFirst:
    """In the place of linked accounts: a forge that takes longer over the first status than over those after it."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self._pauses = iter([0.3])

    @asynccontextmanager
    async def using(self, _link_id: int) -> AsyncIterator[SlowAtFirst]:
        yield self

    async def set_status(self, _name: str, status: CommitStatus) -> None:
        await asyncio.sleep(next(self._pauses, 0))
        self.heard.append(status.description)


async def builds_of(database: Database, count: int) -> tuple[int, list[int]]:
    """Make a linked account and builds, return their ids."""
    bench = Bench(database, QUICK)
    configuration = await bench.set_up("alice/app")
    builds = [await bench.push(configuration, f"{number}" * 40, f"branch-{number}") for number in range(count)]
    user = {"email": "a@example.com", "password_hash": "", "admin": False, "default_visibility": "public"}
    link = LinkedAccount(
        id=0,
        user_id=1,
        kind=Forge.GITHUB,
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
        return await link_rows.put(session, link, "sealed"), builds


def about(build_id: int, linked_account_id: int, words: str) -> Outgoing:
    """Something to be said of one commit in one context, whichever build it is of."""
    status = CommitStatus(
        commit="c" * 40, state=StatusState.PENDING, context="hythe/alice/app", description=words, target_url=""
    )
    return Outgoing(
        build_id=build_id,
        linked_account_id=linked_account_id,
        forge_repository="src/app",
        status=status,
        version=1,
        attempts=0,
    )


async def put(database: Database, *outgoing: Outgoing) -> None:
    async with database.writing() as session:
        for each in outgoing:
            await rows.put(session, each, NOW)


async def claimed(database: Database, now: datetime) -> Outgoing:
    async with database.writing() as session:
        [found] = await rows.due(session, now)
        assert await rows.claim(session, found, now, now + timedelta(minutes=2))
    return found


async def settled(database: Database, outgoing: Outgoing) -> list[str]:
    """Settle what was sent, return what is to be said afterwards."""
    async with database.writing() as session:
        await rows.settle(session, outgoing, DONE, NOW)
        return [each.status.description for each in await rows.due(session, NOW)]


def test_what_is_newer_is_said_again_after_what_was_late(database: Database, run: Run[Any]) -> None:
    """A server that was still sending the older status when another had sent the newer one has that repeated."""

    async def late() -> tuple[list[str], list[str], list[str]]:
        linked_account_id, [build_id] = await builds_of(database, 1)
        await put(database, about(build_id, linked_account_id, "waits"))
        first = await claimed(database, NOW)
        await put(database, about(build_id, linked_account_id, "is built"))
        second = await claimed(database, NOW)
        after_newer = await settled(database, second)
        after_older = await settled(database, first)
        return after_newer, after_older, await settled(database, await claimed(database, NOW))

    assert run(late()) == ([], ["is built"], [])


def test_builds_of_one_commit_are_told_in_their_order(database: Database, run: Run[Any]) -> None:
    """What the older build has to say is no longer on its way when the newer one's is sent."""

    async def told() -> list[str]:
        linked_account_id, [older, newer] = await builds_of(database, 2)
        await put(database, about(newer, linked_account_id, "newer"), about(older, linked_account_id, "older"))
        forge = SlowAtFirst()
        await StatusSender(database, cast("LinkedAccounts", forge), lambda: NOW).send_due()
        return forge.heard

    assert run(told()) == ["older", "newer"]
