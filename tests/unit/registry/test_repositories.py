"""Repositories go with everything in them, and nobody has to wait for that."""

from __future__ import annotations

import asyncio

import pytest
from tests.unit.registry.depot import ANN, Depot, image

from hythe.registry.sql import repositories as store


def _fill(depot: Depot, name: str, count: int) -> None:
    depot.push_image(name)
    for number in range(count):
        depot.push(name, image(b"layer", annotations={"number": str(number)}), f"v{number}")


def test_others_are_served_while_a_repository_goes(depot: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large repository is deleted in steps: between them the loop serves others, also on SQLite."""
    monkeypatch.setattr(store, "DELETE_BATCH_SIZE", 2)
    _fill(depot, "a", 7)

    turns = depot.run(_turns_during_removal(depot, "a"))

    assert turns > 7
    assert not depot.has_manifest("a", "v0")


def test_nothing_of_a_deleted_repository_comes_back(depot: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who pushes to the same name again starts from nothing; the earlier bytes are freed after the grace period."""
    monkeypatch.setattr(store, "DELETE_BATCH_SIZE", 2)
    _fill(depot, "a", 5)
    depot.run(depot.registry.repositories.delete(ANN, "a"))

    fresh = depot.push_image("a", "v0", layer=b"other")
    history = depot.run(depot.registry.tags.history(ANN, "a", "v0"))
    depot.collect_after_grace()

    assert depot.tags("a") == ("v0",)
    assert [(move.digest, move.previous) for move in history] == [(str(fresh), None)]
    assert not depot.has_blob("a", b"layer")
    assert not depot.is_stored(b"layer")


async def _turns_during_removal(depot: Depot, name: str) -> int:
    """How often another task had its turn while the repository was removed."""
    turns = 0
    async with depot.database.writing() as session:
        found = await store.lock(session, name, exclusive=True)
        assert found is not None
        removing = asyncio.create_task(store.remove(session, found.id))
        while not removing.done():
            turns += 1
            await asyncio.sleep(0)
        await removing
    return turns
