"""What pushes record for rules, on each database, while the rules are removed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.parts.database import Run

from hythe.database import Database, Session
from hythe.hub.actor import HubActor
from hythe.oci.digest import Digest
from hythe.registry.events import RepositoryRef, TagMove
from hythe.replication.registry_listener import ReplicationRegistryListener
from hythe.replication.rule import Direction, NewReplicationRule
from hythe.replication.sql import items as item_store
from hythe.replication.sql import rules as rule_store

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DIGEST = Digest.of(b"image")
OVERLAP = 0.3
"""Seconds for which the other transaction has time to go wrong; if all is well, it waits for the first one."""


async def add_rule(database: Database) -> int:
    """Add a rule that pushes everything; return its id."""
    new = NewReplicationRule("mirror", Direction.PUSH, "https://other.example")
    values = {name: getattr(new, name) for name in NewReplicationRule.__struct_fields__ if name != "password"}
    values |= {"secret": "", "created_at": NOW, "created_by": "ann", "compare_at": None, "compare_lease": ""}
    values |= {"compared_at": None, "paused_until": None, "failures": 0, "problem": ""}
    async with database.writing() as session:
        await rule_store.add(session, values)
        [rule] = await rule_store.listed(session)
    return rule.id


async def push(database: Database, listener: ReplicationRegistryListener, tag: str) -> None:
    """Let the listener record a push."""
    async with database.writing() as session:
        moves = (TagMove(tag, DIGEST, None, NOW),)
        await listener.tags_moved(session, RepositoryRef(1, "ann/app", NOW), moves, HubActor("ann"))


async def remove(database: Database, rule_id: int) -> None:
    """Remove the rule."""
    async with database.writing() as session:
        await rule_store.remove(session, rule_id)


async def behind(database: Database, rule_id: int) -> list[str]:
    """The tags that are behind."""
    async with database.reading() as session:
        return [item.reference for item in await item_store.oldest(session, rule_id, 10)]


def test_a_push_after_the_removal(database: Database, run: Run[Any]) -> None:
    """It succeeds and records nothing, also if the removal is not committed when it begins."""

    async def work() -> list[str]:
        rule_id = await add_rule(database)
        listener = ReplicationRegistryListener(lambda: NOW)
        await push(database, listener, "first")
        assert await behind(database, rule_id) == ["first"]
        async with database.writing() as session:
            await rule_store.remove(session, rule_id)
            pushing = asyncio.create_task(push(database, listener, "second"))
            await asyncio.wait([pushing], timeout=OVERLAP)
        await pushing
        return await behind(database, rule_id)

    assert run(work()) == []


def test_a_removal_during_a_push(database: Database, run: Run[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The removal waits for the push that found the rule, and removes what it recorded."""
    add, removals = item_store.add, []

    async def add_late(
        session: Session, rule_id: int, repository: str, names: Sequence[str], now: datetime, due_at: datetime
    ) -> None:
        removals.append(asyncio.create_task(remove(database, rule_id)))
        await asyncio.wait(removals, timeout=OVERLAP)
        await add(session, rule_id, repository, names, now, due_at)

    async def work() -> list[str]:
        rule_id = await add_rule(database)
        monkeypatch.setattr(item_store, "add", add_late)
        await push(database, ReplicationRegistryListener(lambda: NOW), "first")
        await asyncio.gather(*removals)
        return await behind(database, rule_id)

    assert run(work()) == []
    assert removals
