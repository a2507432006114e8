"""Runs of garbage collection are recorded, and begin early when they are requested."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from tests.unit.registry.depot import ANN, GRACE, Depot

from hythe.database.tables.registry import garbage_collections
from hythe.registry.policy import Policy
from hythe.registry.sql import garbage_collection as store
from hythe.registry.sql.garbage_collection import MAX_RUNS, GarbageRun
from hythe.registry.storage.port import StorageUnavailable


async def recorded(depot: Depot) -> Sequence[Any]:
    """Return the recorded runs, newest first."""
    async with depot.database.reading() as session:
        return await session.rows(select(garbage_collections).order_by(garbage_collections.c.id.desc()))


async def next_run(depot: Depot, known: int) -> int:
    """Wait until a run after ``known`` is recorded, and return its id."""
    async with asyncio.timeout(60):
        while True:
            runs = await recorded(depot)
            if runs and runs[0].id > known:
                return int(runs[0].id)
            await asyncio.sleep(0.01)


def test_a_requested_run_begins_at_once(depot: Depot) -> None:
    """The pause ends, and who requested the run is recorded; of the runs that find nothing, one stays."""
    depot.registry.policy.update(Policy(grace=GRACE, garbage_interval=timedelta(days=1)))
    depot.push_blob("a", b"orphan")
    depot.clock.forward(GRACE * 1.01)

    async def request() -> None:
        rounds = asyncio.create_task(depot.registry.garbage.run())
        last = await next_run(depot, 0)
        for _ in range(3):
            depot.registry.garbage.request("ann")
            last = await next_run(depot, last)
        rounds.cancel()
        await asyncio.wait([rounds])

    depot.run(request())

    found = [(row.started_by, row.blobs, row.bytes) for row in depot.run(recorded(depot))]
    assert found == [("ann", 0, 0), ("", 1, len(b"orphan"))]


def test_runs_are_recorded(depot: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they freed, who started them, and why they failed."""
    digest = depot.push_image("a", layer=b"layer")
    depot.run(depot.registry.manifests.delete(ANN, "a", digest))
    depot.collect_after_grace()
    freed = [(row.started_by, row.failure, row.idle, row.blobs) for row in depot.run(recorded(depot)) if row.bytes]

    async def sweep(*_: Any) -> int:
        raise StorageUnavailable("no disk")

    monkeypatch.setattr(depot.storage, "sweep", sweep)
    with pytest.raises(StorageUnavailable):
        depot.run(depot.registry.garbage.collect(by="ann"))
    failed, *_ = depot.run(recorded(depot))

    assert freed == [("", "", False, 2)]
    assert (failed.started_by, failed.failure, failed.idle, failed.blobs) == ("ann", "no disk", False, 0)
    assert depot.registry.garbage.running_since is None


def garbage_run(depot: Depot, by: str, *, freed: int = 1) -> GarbageRun:
    """Return a run that freed some manifests."""
    now = depot.clock()
    return GarbageRun(
        started_at=now, finished_at=now, started_by=by, manifests=freed, blobs=0, bytes=0, uploads=0, failure=""
    )


def test_the_newest_idle_run_stays(depot: Depot) -> None:
    """Also after runs that freed something: it tells when there was nothing to delete."""

    async def some() -> None:
        async with depot.database.writing() as session:
            for number, freed in enumerate((0, 1, 0, 1, 1)):
                await store.record(session, garbage_run(depot, str(number), freed=freed))

    depot.run(some())

    assert [row.started_by for row in depot.run(recorded(depot))] == ["4", "3", "2", "1"]


def test_only_the_last_runs_stay(depot: Depot) -> None:
    """The oldest ones are forgotten."""

    async def many() -> None:
        async with depot.database.writing() as session:
            for number in range(MAX_RUNS + 5):
                await store.record(session, garbage_run(depot, str(number)))

    depot.run(many())

    assert [row.started_by for row in depot.run(recorded(depot))] == [
        str(number) for number in reversed(range(5, MAX_RUNS + 5))
    ]
