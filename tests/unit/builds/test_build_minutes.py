"""Build minutes: each build counts once, and an account without minutes starts no builds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select, update
from tests.parts.database import Run
from tests.unit.builds.test_queue import DONE, QUICK, Bench, lease_of

from hythe.builds.configuration import BuildConfiguration
from hythe.builds.queue import ClaimedBuild
from hythe.builds.sql import builds as build_rows
from hythe.builds.sql import usage
from hythe.builds.status import BuildStatus
from hythe.database import Database
from hythe.database.tables.builds import build_usage, builds
from hythe.hub.accounts.plan import Plan
from hythe.hub.sql import namespaces, organizations, users


async def set_up(database: Database, limit: int | None, *, admin: bool = False) -> tuple[Bench, BuildConfiguration]:
    """Create an account that may use ``limit`` minutes, with a build configuration."""
    async with database.writing() as session:
        plan = Plan(build_limit=limit)
        user = await users.add(session, "alice", "a@example.org", "", admin=admin, plan=plan, at=datetime.now(UTC))
        await namespaces.add_for_user(session, "alice", user.id)
    bench = Bench(database, QUICK)
    return bench, await bench.set_up("alice/a")


async def started_ago(database: Database, build_id: int, seconds: int) -> None:
    """Let a build have started some time ago."""
    started = datetime.now(UTC) - timedelta(seconds=seconds)
    async with database.writing() as session:
        await session.run(update(builds).where(builds.c.id == build_id).values(started_at=started))


async def run_build(bench: Bench, configuration: BuildConfiguration, seconds: int) -> ClaimedBuild:
    """Run a build that takes some time."""
    await bench.push(configuration, "1")
    claimed = await bench.claim()
    await started_ago(bench.database, claimed.build.id, seconds)
    await bench.queue.finish(lease_of(claimed), DONE)
    return claimed


async def minutes(bench: Bench, days: int = 0) -> usage.BuildMinutes:
    """Return the account's minutes, some days from now."""
    async with bench.database.reading() as session:
        return await usage.of_account(session, "alice", datetime.now(UTC) + timedelta(days=days))


def test_every_way_to_end_a_build_counts_once(database: Database, run: Run[Any]) -> None:
    """Finished, given up and cancelled while running; queued builds that never started do not count."""

    async def end_in_all_ways() -> list[int]:
        bench, configuration = await set_up(database, 1000)
        used = []
        await run_build(bench, configuration, 600)
        used.append((await minutes(bench)).used)
        lost = await bench.push(configuration, "2")
        claimed = await bench.claim()
        await started_ago(database, lost, 1200)
        async with database.writing() as session:
            await bench.queue.end_all(session, configuration.id, "alice")
        async with database.writing() as session:
            await bench.queue.end_all(session, configuration.id, "alice")
        used.append((await minutes(bench)).used)
        await bench.push(configuration, "3")
        await bench.push(configuration, "4")
        async with database.writing() as session:
            await bench.queue.cancel_all(session, configuration.id, "alice")
        used.append((await minutes(bench)).used)
        assert claimed.build.id == lost
        return used

    assert run(end_in_all_ways()) == [10, 30, 30]


def test_an_account_without_minutes_starts_no_build(database: Database, run: Run[Any]) -> None:
    """Queued builds fail with the reason; 30 days later, the minutes are free again."""

    async def use_up() -> tuple[list[BuildStatus], str, int, int]:
        bench, configuration = await set_up(database, 10)
        await run_build(bench, configuration, 601)
        queued = [await bench.push(configuration, "2", branch) for branch in ("main", "dev", "other")]
        assert await bench.queue.claim("worker") is None
        statuses = [await bench.status(each) for each in queued]
        async with database.reading() as session:
            build = await build_rows.by_id(session, queued[0])
        assert build is not None
        return statuses, build.reason, (await minutes(bench)).used, (await minutes(bench, days=30)).used

    statuses, reason, used, used_later = run(use_up())

    assert statuses == [BuildStatus.FAILED] * 3
    assert reason == "your plan allows 10 minutes of builds in 30 days, and 10 were used"
    assert (used, used_later) == (10, 0)


def test_builds_of_an_organization_use_its_minutes(database: Database, run: Run[Any]) -> None:
    """Whoever starts them: the member has used none, and builds on when the organization has none left."""

    async def use_up() -> tuple[usage.BuildMinutes, usage.BuildMinutes, str, BuildStatus]:
        bench, own = await set_up(database, 5)
        async with database.writing() as session:
            plan = Plan(build_limit=10)
            acme = await users.add(
                session, "acme", "acme@example.org", "", admin=False, plan=plan, at=datetime.now(UTC)
            )
            await organizations.make_organization(session, acme.id)
            await namespaces.add_for_user(session, "acme", acme.id)
        shared = await bench.set_up("acme/a")
        await run_build(bench, shared, 601)
        refused = await bench.push(shared, "2")
        assert await bench.queue.claim("worker") is None
        async with database.reading() as session:
            build = await build_rows.by_id(session, refused)
            of_acme = await usage.of_account(session, "acme", datetime.now(UTC))
        assert build is not None
        assert (build.status, build.started_by) == (BuildStatus.FAILED, "alice")
        of_alice = await minutes(bench)
        claimed = await run_build(bench, own, 60)
        return of_acme, of_alice, build.reason, await bench.status(claimed.build.id)

    of_acme, of_alice, reason, status = run(use_up())

    assert (of_acme, of_alice) == (usage.BuildMinutes(10, 10), usage.BuildMinutes(5, 0))
    assert "10 minutes" in reason
    assert status is BuildStatus.SUCCEEDED


def test_plans_without_limit_and_administrators(database: Database, run: Run[Any]) -> None:
    """Neither is refused."""

    async def build_as_administrator() -> str:
        bench, configuration = await set_up(database, 0, admin=True)
        await run_build(bench, configuration, 6000)
        return (await minutes(bench)).problem

    assert run(build_as_administrator()) == ""


def test_old_days_are_forgotten(database: Database, run: Run[Any]) -> None:
    """The rows of an account are those of 30 days, so asking costs the same however many builds there were."""

    async def count_days() -> int:
        bench, configuration = await set_up(database, 10_000)
        first = await run_build(bench, configuration, 60)
        async with database.writing() as session:
            await session.run(update(build_usage).values(day=build_usage.c.day - 30))
        await run_build(bench, configuration, 60)
        async with database.reading() as session:
            rows = await session.rows(select(build_usage))
        assert first.build.account == "alice"
        return len(rows)

    assert run(count_days()) == 1
