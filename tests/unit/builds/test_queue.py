"""The queue on each database: order, fairness, leases, fencing, cancelling."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select
from tests.parts.database import Run

from hythe.builds.build import Cause, SourceCommit
from hythe.builds.configuration import BuildConfiguration, BuildSource, NewBuildConfiguration
from hythe.builds.errors import LeaseLost
from hythe.builds.queue import BuildQueue, ClaimedBuild, QueuePolicy, digest_of
from hythe.builds.rules import Rule
from hythe.builds.sql import builds as build_rows
from hythe.builds.sql import configurations as configuration_rows
from hythe.builds.sql import logs
from hythe.builds.sql import queue as queue_rows
from hythe.builds.sql.builds import NewBuild
from hythe.builds.sql.queue import Lease
from hythe.builds.sql.queue_length import QueueLength, queue_length
from hythe.builds.status import BuildStatus
from hythe.database import Database
from hythe.database.tables.builds import build_log
from hythe.forges.source_ref import SourceRef, SourceType
from hythe.registry.sql import repositories as repository_rows
from hythe.telemetry.request_record import RequestRecord, set_current_record
from hythe.worker.protocol import BuildOutcome, CheckedOutCommit

QUICK = QueuePolicy(lease=30, per_account=2)


class Bench:
    """A queue, and the build configurations that use it."""

    def __init__(self, database: Database, rules: QueuePolicy) -> None:
        self.database = database
        self.queue = BuildQueue(database, rules)

    async def set_up(self, repository: str) -> BuildConfiguration:
        new = NewBuildConfiguration(
            source=BuildSource(url="https://git.example/a/b.git"), rules=(Rule(source="/.*/", tags="{sourceref}"),)
        )
        async with self.database.writing() as session:
            now = datetime.now(UTC)
            await repository_rows.create(session, repository, now)
            made = await repository_rows.find(session, repository)
            assert made is not None
            account = repository.partition("/")[0]
            configuration_id = await configuration_rows.add(session, made.id, account, new, None, "token", account, now)
            found = await configuration_rows.by_id(session, configuration_id)
        assert found is not None
        return found

    async def push(
        self, configuration: BuildConfiguration, commit: str, branch: str = "main", cause: Cause = Cause.PUSH
    ) -> int:
        new = NewBuild(
            configuration_id=configuration.id,
            account=configuration.account,
            ref=SourceRef(SourceType.BRANCH, branch, commit),
            commit=SourceCommit(f"commit {commit}"),
            cause=cause,
            started_by="alice",
            rule=configuration.rules[0],
            tags=(branch,),
        )
        async with self.database.writing() as session:
            return await self.queue.add(session, configuration, new)

    async def status(self, build_id: int) -> BuildStatus:
        async with self.database.reading() as session:
            build = await build_rows.by_id(session, build_id)
        assert build is not None
        return build.status

    async def claim(self) -> ClaimedBuild:
        claimed = await self.queue.claim("worker")
        assert claimed is not None
        return claimed


def lease_of(claimed: ClaimedBuild) -> Lease:
    return Lease(claimed.build.id, claimed.build.fence, digest_of(claimed.key))


DONE = BuildOutcome(status="succeeded")


def test_a_newer_commit_supersedes_a_queued_one(database: Database, run: Run[Any]) -> None:
    """Only the last commit of a rule and branch is built; builds of other branches stay queued."""

    async def pushes() -> list[BuildStatus]:
        bench = Bench(database, QUICK)
        configuration = await bench.set_up("alice/a")
        first, other, second = [
            await bench.push(configuration, c, b) for c, b in (("1", "main"), ("2", "dev"), ("3", "main"))
        ]
        return [await bench.status(each) for each in (first, other, second)]

    assert run(pushes()) == [BuildStatus.SUPERSEDED, BuildStatus.QUEUED, BuildStatus.QUEUED]


def test_a_build_names_the_request_that_started_it(database: Database, run: Run[Any]) -> None:
    """The claimed build carries the ID to its worker; a build that a schedule started has none."""

    async def pushes() -> tuple[str, str, str]:
        bench = Bench(database, QUICK)
        configuration = await bench.set_up("alice/a")
        await bench.push(configuration, "1")
        scheduled = await bench.claim()
        record = RequestRecord()
        record.trace_parent = f"00-{32 * '1'}-{16 * '2'}-01"
        set_current_record(record)
        await bench.push(configuration, "2", "dev")
        set_current_record(None)
        pushed = (await bench.claim()).build
        assert pushed.request_id == record.id
        return scheduled.build.request_id, pushed.trace_parent, record.trace_parent

    without, carried, given = run(pushes())

    assert without == ""
    assert carried == given


def test_the_length_of_the_queue_is_measured(database: Database, run: Run[Any]) -> None:
    """Waiting and running builds, and when the first of those that wait was queued."""

    async def lengths() -> list[QueueLength]:
        bench = Bench(database, QUICK)
        configuration = await bench.set_up("alice/a")
        found = []
        for branch in ("main", "dev"):
            async with database.reading() as session:
                found.append(await queue_length(session))
            await bench.push(configuration, "1", branch)
        await bench.claim()
        async with database.reading() as session:
            return [*found, await queue_length(session)]

    empty, one, claimed = run(lengths())

    assert empty == QueueLength(0, 0, None)
    assert (one.queued, one.running) == (1, 0)
    assert (claimed.queued, claimed.running) == (1, 1)
    assert one.oldest is not None
    assert claimed.oldest is not None
    assert claimed.oldest > one.oldest


def test_a_retry_does_not_supersede_a_newer_commit(database: Database, run: Run[Any]) -> None:
    """A retried build of an old commit is queued after a newer commit, which stays queued."""

    async def pushes() -> list[int]:
        bench = Bench(database, QUICK)
        configuration = await bench.set_up("alice/a")
        pushed = [await bench.push(configuration, "2"), await bench.push(configuration, "1", cause=Cause.RETRY)]
        claimed = []
        for _ in pushed:
            claim = await bench.claim()
            claimed.append(claim.build.id)
            await bench.queue.finish(lease_of(claim), DONE)
        assert claimed == pushed
        return claimed

    assert len(run(pushes())) == 2


def test_builds_of_one_branch_run_one_at_a_time(database: Database, run: Run[Any]) -> None:
    """A running build is not superseded; the next one of its rule and branch starts after it."""

    async def pushes() -> None:
        bench = Bench(database, QUICK)
        configuration = await bench.set_up("alice/a")
        await bench.push(configuration, "1")
        running = await bench.claim()
        second = await bench.push(configuration, "2")

        assert await bench.status(running.build.id) is BuildStatus.RUNNING
        assert await bench.queue.claim("other") is None
        await bench.queue.finish(lease_of(running), DONE)
        assert (await bench.claim()).build.id == second

    run(pushes())


def test_accounts_take_turns(database: Database, run: Run[Any]) -> None:
    """An account with many builds does not block others, and runs no more builds at once than allowed."""

    async def claims() -> list[str]:
        bench = Bench(database, QUICK)
        busy, quiet = await bench.set_up("busy/a"), await bench.set_up("quiet/a")
        for number in range(10):
            await bench.push(busy, "1", f"branch-{number}")
        await bench.push(quiet, "1")
        found = []
        while claimed := await bench.queue.claim("worker"):
            found.append(claimed.build.account)
        return found

    assert run(claims()) == ["busy", "quiet", "busy"]


def test_the_position_considers_that_accounts_take_turns(database: Database, run: Run[Any]) -> None:
    """The position is the number of builds that start before: not all builds of a busy account count."""

    async def positions() -> list[int]:
        bench = Bench(database, QUICK)
        busy, quiet = await bench.set_up("busy/a"), await bench.set_up("quiet/a")
        waiting = [await bench.push(busy, "1", f"branch-{number}") for number in range(10)]
        waiting.append(await bench.push(quiet, "1"))
        await bench.claim()
        found = []
        for build_id in (waiting[1], waiting[9], waiting[10]):
            async with database.reading() as session:
                build = await build_rows.by_id(session, build_id)
                assert build is not None
                position = await bench.queue.position(session, build)
            assert position is not None
            found.append(position.ahead)
        return found

    assert run(positions()) == [1, 9, 0]


def test_a_lost_worker_is_replaced_and_fenced_off(database: Database, run: Run[Any]) -> None:
    """When a lease expires, another worker gets the build, and requests of the first one are refused."""

    async def lose() -> None:
        bench = Bench(database, QueuePolicy(lease=0))
        await bench.push(await bench.set_up("alice/a"), "1")
        first = await bench.claim()
        await asyncio.sleep(0.01)
        second = await bench.claim()

        assert second.build.id == first.build.id
        assert second.build.fence == first.build.fence + 1
        for call in (
            bench.queue.heartbeat(lease_of(first)),
            bench.queue.append_log(lease_of(first), 0, b"x"),
            bench.queue.record_commit(lease_of(first), CheckedOutCommit("a" * 40)),
            bench.queue.finish(lease_of(first), DONE),
        ):
            with pytest.raises(LeaseLost):
                await call
        await bench.queue.finish(lease_of(second), DONE)
        assert await bench.status(first.build.id) is BuildStatus.SUCCEEDED

    run(lose())


def test_a_lease_requires_its_key(database: Database, run: Run[Any]) -> None:
    """Knowing a build's id and fence is not enough to act as its worker."""

    async def guess() -> None:
        bench = Bench(database, QueuePolicy())
        await bench.push(await bench.set_up("alice/a"), "1")
        claimed = await bench.claim()
        guessed = Lease(claimed.build.id, claimed.build.fence, digest_of("a guess"))

        for call in (bench.queue.heartbeat(guessed), bench.queue.finish(guessed, DONE)):
            with pytest.raises(LeaseLost):
                await call
        await bench.queue.finish(lease_of(claimed), DONE)

    run(guess())


def test_a_build_that_loses_every_worker_fails(database: Database, run: Run[Any]) -> None:
    """A build whose worker was lost three times is not started again."""

    async def lose() -> tuple[BuildStatus, str]:
        bench = Bench(database, QueuePolicy(lease=0, attempts=3))
        build_id = await bench.push(await bench.set_up("alice/a"), "1")
        for _ in range(3):
            await bench.claim()
            await asyncio.sleep(0.01)
        assert await bench.queue.claim("worker") is None
        async with database.reading() as session:
            build = await build_rows.by_id(session, build_id)
        assert build is not None
        return build.status, build.reason

    status, reason = run(lose())

    assert status is BuildStatus.FAILED
    assert "3 workers were lost" in reason


def test_cancelling(database: Database, run: Run[Any]) -> None:
    """A queued build is cancelled immediately; the worker of a running one learns it from its next heartbeat."""

    async def cancel() -> None:
        bench = Bench(database, QUICK)
        configuration = await bench.set_up("alice/a")
        await bench.push(configuration, "1")
        running = await bench.claim()
        waiting = await bench.push(configuration, "2", "dev")
        async with database.writing() as session:
            for build_id in (running.build.id, waiting):
                build = await build_rows.by_id(session, build_id)
                assert build is not None
                assert await bench.queue.cancel(session, build, "alice")

        assert await bench.status(waiting) is BuildStatus.CANCELLED
        assert (await bench.queue.heartbeat(lease_of(running))).cancelled_by == "alice"

    run(cancel())


def test_log_chunks_are_stored_once_and_compressed(database: Database, run: Run[Any]) -> None:
    """A chunk that is sent twice is stored once; the log can be read from any byte."""

    async def write() -> bytes:
        bench = Bench(database, QUICK)
        await bench.push(await bench.set_up("alice/a"), "1")
        claimed = await bench.claim()
        lease = lease_of(claimed)
        await bench.queue.append_log(lease, 0, b"one\n")
        again = await bench.queue.append_log(lease, 0, b"one\n")
        assert again.log_size == 4
        await bench.queue.append_log(lease, 4, b"two\n")
        await bench.queue.finish(lease, DONE)
        async with database.reading() as session:
            return await logs.read(session, claimed.build.id, 2)

    assert run(write()) == b"e\ntwo\n"


def test_a_finished_log_is_stored_in_a_few_chunks(database: Database, run: Run[Any]) -> None:
    """Many small chunks are merged into some that are quick to decompress, not into one."""
    lines = [b"%d\n" % number * 3000 for number in range(100)]

    async def write() -> tuple[list[int], bytes]:
        bench = Bench(database, QUICK)
        await bench.push(await bench.set_up("alice/a"), "1")
        claimed = await bench.claim()
        lease = lease_of(claimed)
        end = 0
        for line in lines:
            end = (await bench.queue.append_log(lease, end, line)).log_size
        await bench.queue.finish(lease, DONE)
        async with database.reading() as session:
            sizes = [row.size for row in await session.rows(select(build_log.c.size))]
            return sizes, await logs.read(session, claimed.build.id, 5, end)

    sizes, content = run(write())
    assert content == b"".join(lines)[5:]
    assert len(sizes) == -(-sum(sizes) // logs.MERGED_SIZE)
    assert max(sizes) <= logs.MERGED_SIZE


def test_many_workers_claim_each_build_once(database: Database, run: Run[Any]) -> None:
    """Concurrent claims never return the same build."""

    async def claims() -> Counter[int]:
        bench = Bench(database, QueuePolicy(per_account=0))
        configuration = await bench.set_up("alice/a")
        for number in range(20):
            await bench.push(configuration, "1", f"branch-{number}")
        found: Counter[int] = Counter()

        async def work() -> None:
            while claimed := await bench.queue.claim("worker"):
                found[claimed.build.id] += 1

        await asyncio.gather(*(work() for _ in range(8)))
        return found

    found = run(claims())

    assert len(found) == 20
    assert set(found.values()) == {1}


def test_concurrent_pushes_are_all_queued(database: Database, run: Run[Any]) -> None:
    """Concurrent pushes to different branches are all queued; of one branch only the last commit."""

    async def push() -> tuple[list[BuildStatus], list[BuildStatus]]:
        bench = Bench(database, QUICK)
        configuration = await bench.set_up("alice/a")
        same = await asyncio.gather(*(bench.push(configuration, str(number)) for number in range(10)))
        others = await asyncio.gather(*(bench.push(configuration, "1", f"branch-{number}") for number in range(10)))
        return [await bench.status(each) for each in same], [await bench.status(each) for each in others]

    same, others = run(push())

    assert sorted(status.value for status in same) == ["queued", *["superseded"] * 9]
    assert set(others) == {BuildStatus.QUEUED}


def test_two_hundred_pushes_are_built_in_order(database: Database, run: Run[Any]) -> None:
    """During pushes to twenty repositories the commits of each branch finish in order, and the last one is built."""

    async def storm() -> dict[int, list[int]]:
        bench = Bench(database, QueuePolicy(per_account=0))
        configurations = [await bench.set_up(f"user{number}/app") for number in range(20)]
        finished: dict[int, list[int]] = {configuration.id: [] for configuration in configurations}
        over = asyncio.Event()

        async def push() -> None:
            for commit in range(10):
                for configuration in configurations:
                    await bench.push(configuration, str(commit))
                bench.queue.wake()
                await asyncio.sleep(0)
            over.set()

        async def work() -> None:
            while (claimed := await bench.queue.claim("worker")) or not over.is_set():
                if claimed is None:
                    await asyncio.sleep(0.005)
                    continue
                await asyncio.sleep(0.001)
                finished[claimed.build.configuration_id].append(int(claimed.build.ref.commit))
                await bench.queue.finish(lease_of(claimed), DONE)

        await asyncio.gather(push(), *(work() for _ in range(4)))
        return finished

    for commits in run(storm()).values():
        assert commits == sorted(commits)
        assert commits[-1] == 9


def test_closing_ends_waiting_claims(database: Database, run: Run[Any]) -> None:
    """A server that stops responds to waiting claims, and hands out no more builds."""
    queue = BuildQueue(database, QUICK)

    async def close_while_waiting() -> ClaimedBuild | None:
        waiting = asyncio.create_task(queue.claim("worker", wait=60))
        await asyncio.sleep(0.05)
        queue.close()
        return await asyncio.wait_for(waiting, 5)

    assert run(close_while_waiting()) is None
    assert run(queue.claim("worker", wait=60)) is None


def test_ending_many_builds_at_once_does_not_deadlock(database: Database, run: Run[Any]) -> None:
    """Pushes, refusals of an account and ends of a configuration lock the same builds in one order."""
    bench = Bench(database, QUICK)

    async def scenario() -> None:
        configurations = [await bench.set_up(f"alice/{name}") for name in "abc"]

        async def push(offset: int) -> None:
            for number in range(40):
                await bench.push(configurations[(number + offset) % 3], f"{number:040x}", f"branch{number % 5}")

        async def refuse() -> None:
            for _ in range(40):
                async with database.writing() as session:
                    await bench.queue.refuse_all(session, "alice", "no build minutes left")

        async def end(offset: int) -> None:
            for number in range(40):
                async with database.writing() as session:
                    await bench.queue.end_all(session, configurations[(number + offset) % 3].id, "alice")

        await asyncio.gather(push(0), push(1), refuse(), refuse(), end(0), end(1))
        await end(0)
        async with database.reading() as session:
            unfinished = [await queue_rows.unfinished(session, configuration.id) for configuration in configurations]
        assert unfinished == [[], [], []]

    run(scenario())
