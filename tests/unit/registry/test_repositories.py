"""Repositories go with everything in them at once; what they contained is deleted in small steps."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import func, select
from tests.unit.registry.depot import ANN, Depot, image, index, subject

from hythe.database.tables.metadata import METADATA
from hythe.database.tables.registry import namespace_usage, repositories, repository_blobs, uploads
from hythe.oci.errors import WireError
from hythe.oci.reference import is_name
from hythe.registry import deletions
from hythe.registry.events import RepositoryRef
from hythe.registry.service import RegistryServices

CONTENT = (
    "repositories", "repository_blobs", "tags", "tag_moves", "tag_rules", "manifests", "manifest_blobs",
    "manifest_children", "mirrored_manifests", "unmarked_dependents",
)  # fmt: skip
"""Every table with rows of repositories."""


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deletions stop before the first step, and every step deletes one row of one table."""
    monkeypatch.setattr(deletions, "INLINE_TIME", 0)
    monkeypatch.setattr(deletions, "STEP_SECONDS", 0)
    monkeypatch.setattr(deletions, "PAUSE", 0)
    monkeypatch.setattr(deletions, "MIN_STEP", 1)
    monkeypatch.setattr(deletions, "MAX_STEP", 1)


def _fill(depot: Depot, name: str, count: int) -> None:
    depot.push_image(name)
    children = [
        depot.push(name, image(b"layer", annotations={"number": str(number)}), f"v{number}") for number in range(count)
    ]
    top = depot.push(name, index(*children), "all")
    depot.push(name, image(b"layer", subject=subject(top)))
    depot.run(depot.registry.tags.set_immutable_patterns(ANN, name, ["x*"]))


def _counts(depot: Depot) -> dict[str, int]:
    async def count() -> dict[str, int]:
        async with depot.database.reading() as session:
            found = {}
            for table in CONTENT:
                row = await session.row(select(func.count()).select_from(METADATA.tables[table]))
                assert row is not None
                found[table] = int(row[0])
            return found

    found: dict[str, int] = depot.run(count())
    return found


def _usage(depot: Depot) -> dict[str, tuple[int, int]]:
    async def read() -> dict[str, tuple[int, int]]:
        async with depot.database.reading() as session:
            rows = await session.rows(select(namespace_usage))
            return {row.namespace: (row.bytes, row.repositories) for row in rows}

    found: dict[str, tuple[int, int]] = depot.run(read())
    return found


def _miscounts(depot: Depot) -> list[Any]:
    async def check() -> list[Any]:
        return [wrong async for wrong in depot.registry.verification.usage()]

    found: list[Any] = depot.run(check())
    return found


def test_a_small_repository_leaves_no_row(depot: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the deletion returns, nothing of a small repository is left, and nothing of its usage."""
    monkeypatch.setattr(deletions, "INLINE_TIME", 60)
    _fill(depot, "ann/a", 5)
    depot.run(depot.registry.repositories.delete(ANN, "ann/a"))

    assert not any(_counts(depot).values())
    assert _usage(depot) == {}


@pytest.mark.usefixtures("slowly")
def test_a_large_repository_is_gone_before_its_rows(depot: Depot) -> None:
    """It is gone at once; its rows stay until housekeeping, which deletes them in steps, and its name is free."""
    _fill(depot, "ann/a", 7)
    full = _counts(depot)
    depot.run(depot.registry.repositories.delete(ANN, "ann/a"))

    assert _counts(depot) == full
    assert not depot.has_manifest("ann/a", "v0")
    assert not depot.has_blob("ann/a", b"layer")
    with pytest.raises(WireError):
        depot.tags("ann/a")
    assert depot.run(depot.registry.catalog.names(ANN, "", 10)).names == ()
    assert _usage(depot)["ann"][1] == 0
    assert _miscounts(depot) == []

    fresh = depot.push_image("ann/a", "v0", layer=b"other")
    depot.run(depot.registry.deletions.finish())

    assert depot.tags("ann/a") == ("v0",)
    assert {table: count for table, count in _counts(depot).items() if count} == {
        "repositories": 1, "repository_blobs": 2, "tags": 1, "tag_moves": 1, "manifests": 1, "manifest_blobs": 2,
    }  # fmt: skip
    assert depot.has_manifest("ann/a", fresh)
    assert _miscounts(depot) == []


@pytest.mark.usefixtures("slowly")
def test_each_step_is_small(depot: Depot) -> None:
    """No transaction deletes more rows than its step allows, in any table, and others run between the steps."""
    _fill(depot, "ann/a", 6)
    depot.run(depot.registry.repositories.delete(ANN, "ann/a"))

    async def watch() -> list[dict[str, int]]:
        seen = [await _state()]
        finishing = asyncio.create_task(depot.registry.deletions.finish())
        while not finishing.done():
            await asyncio.sleep(0)
            seen.append(await _state())
        await finishing
        return seen

    async def _state() -> dict[str, int]:
        async with depot.database.reading() as session:
            tables = [METADATA.tables[table] for table in CONTENT if table != "tag_rules"]
            row = await session.row(select(*(select(func.count()).select_from(t).scalar_subquery() for t in tables)))
            assert row is not None
            return dict(zip((table.name for table in tables), map(int, row), strict=True))

    seen = depot.run(watch())
    steps = [
        {table: before[table] - after[table] for table in before if before[table] != after[table]}
        for before, after in pairwise(seen)
    ]
    changed = [step for step in steps if step]
    if depot.database.dialect == "sqlite":  # elsewhere, several steps fit between two looks
        assert all(sum(step.values()) == 1 for step in changed), changed
    assert len(changed) > 20


@pytest.mark.usefixtures("slowly")
def test_another_server_continues(depot: Depot) -> None:
    """What a killed process left is deleted by any other, from whichever step on."""
    _fill(depot, "ann/a", 4)
    depot.run(depot.registry.repositories.delete(ANN, "ann/a"))

    async def some_steps() -> None:
        finishing = asyncio.create_task(depot.registry.deletions.finish())
        await asyncio.sleep(0.05)
        finishing.cancel()
        await asyncio.gather(finishing, return_exceptions=True)

    depot.run(some_steps())
    other = RegistryServices(
        depot.database, depot.storage, depot.registry.access, (), depot.registry.policy, depot.clock
    )
    depot.run(other.deletions.finish())

    assert not any(_counts(depot).values())
    assert _usage(depot) == {}


def test_two_servers_share_the_work(depot: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several servers that delete at the same time do not get in each other's way, nor in that of pushes."""
    monkeypatch.setattr(deletions, "PAUSE", 0)
    monkeypatch.setattr(deletions, "INLINE_TIME", 0)
    monkeypatch.setattr(deletions, "MIN_STEP", 1)
    monkeypatch.setattr(deletions, "MAX_STEP", 1)
    for number in range(4):
        _fill(depot, f"ann/a{number}", 3)

    async def all_at_once() -> None:
        await asyncio.gather(*(depot.registry.repositories.delete(ANN, f"ann/a{number}") for number in range(4)))
        other = RegistryServices(
            depot.database, depot.storage, depot.registry.access, (), depot.registry.policy, depot.clock
        )
        await asyncio.gather(other.deletions.finish(), depot.registry.deletions.finish())
        await depot.registry.deletions.finish()

    depot.run(all_at_once())

    assert not any(_counts(depot).values())
    # Of two transactions that end the last two repositories at once, neither sees that the other one has ended.
    assert _usage(depot) in ({}, {"ann": (0, 0)})


@pytest.mark.usefixtures("slowly")
def test_nothing_of_a_deleted_repository_comes_back(depot: Depot) -> None:
    """Who pushes to the same name again starts from nothing; the earlier bytes are freed after the grace period."""
    _fill(depot, "a", 5)
    depot.run(depot.registry.repositories.delete(ANN, "a"))

    fresh = depot.push_image("a", "v0", layer=b"other")
    history = depot.run(depot.registry.tags.history(ANN, "a", "v0"))
    depot.run(depot.registry.deletions.finish())
    depot.collect_after_grace()

    assert depot.tags("a") == ("v0",)
    assert [(move.digest, move.previous) for move in history] == [(str(fresh), None)]
    assert not depot.has_blob("a", b"layer")
    assert not depot.is_stored(b"layer")


@pytest.mark.usefixtures("slowly")
def test_a_deletion_during_an_upload(depot: Depot) -> None:
    """An upload that was open when its repository was deleted ends in a new repository, as any push would."""
    depot.push_image("ann/a", "v0")

    async def upload() -> None:
        session = await depot.registry.uploads.start(ANN, "ann/a")
        await depot.registry.repositories.delete(ANN, "ann/a")
        assert (await depot.registry.uploads.get(ANN, "ann/a", session.id)).id == session.id
        await depot.registry.uploads.cancel(ANN, "ann/a", session.id)
        async with depot.database.reading() as reading:
            assert await reading.row(select(uploads)) is None

    depot.run(upload())
    assert not depot.has_blob("ann/a", b"layer")


def test_long_names(depot: Depot) -> None:
    """A repository with the longest possible name can be deleted and made again."""
    for name in ("a" * 255, "ann/" + "b" * 251, "a/" * 127 + "a"):
        for _ in range(2):
            depot.push_image(name, "v0")
            depot.run(depot.registry.repositories.delete(ANN, name))
    depot.run(depot.registry.deletions.finish())
    assert not any(_counts(depot).values())


async def _all_names(depot: Depot) -> list[str]:
    async with depot.database.reading() as session:
        return [row.name for row in await session.rows(select(repositories))]


@pytest.mark.usefixtures("slowly")
def test_no_request_reaches_a_deleted_repository(depot: Depot) -> None:
    """Its name is none that a client can send."""
    depot.push_image("ann/a", "v0")
    depot.run(depot.registry.repositories.delete(ANN, "ann/a"))
    (name,) = depot.run(_all_names(depot))

    assert not is_name(name)
    assert name.startswith("ann/")


@pytest.mark.usefixtures("slowly")
def test_blobs_of_other_repositories_stay(depot: Depot) -> None:
    """A blob that another repository has is neither freed nor subtracted from the usage of their namespace."""
    depot.push_image("ann/a", "v0")
    depot.push_image("ann/b", "v0")
    depot.run(depot.registry.repositories.delete(ANN, "ann/a"))
    depot.run(depot.registry.deletions.finish())
    depot.collect_after_grace()

    assert depot.has_blob("ann/b", b"layer")
    assert _miscounts(depot) == []


def test_usage_counts_down(depot: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be stored because a deleted repository still counts is stored once that is deleted, too."""
    monkeypatch.setattr(deletions, "INLINE_TIME", 0)
    depot.push_image("ann/a", "v0", layer=b"x" * 1000)
    depot.run(depot.registry.repositories.delete(ANN, "ann/a"))
    assert _usage(depot)["ann"][0] > 1000

    assert depot.run(depot.registry.deletions.free("ann")) is True
    assert _usage(depot)["ann"][0] < 1000

    async def links() -> int:
        async with depot.database.reading() as session:
            return len(await session.rows(select(repository_blobs)))

    assert depot.run(links()) == 0
    depot.run(depot.registry.deletions.begin(RepositoryRef(1, "ann/a", depot.clock.now + timedelta(0))))
    assert depot.run(depot.registry.deletions.free("nobody")) is False
