"""What administrators see of the queue and do with it, on each database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from tests.parts.database import Run
from tests.unit.builds.test_queue import DONE, Bench, lease_of
from tests.unit.hub.conftest import CHEAP_HASHER

from hythe.builds.errors import BuildConflict
from hythe.builds.queue import QueuePolicy
from hythe.builds.queue_administration import QueueAdministration, QueuedBuild, WaitReason
from hythe.builds.status import BuildStatus
from hythe.builds.worker_administration import CONNECTED, KEPT, ListedWorker, WorkerAdministration
from hythe.database import Database
from hythe.database.tables.audit import audit_entries
from hythe.database.tables.builds import builds
from hythe.hub.actor import ANONYMOUS, HubActor
from hythe.hub.errors import Invalid, NotFound, Refused, SignInNeeded
from hythe.hub.page import Paging
from hythe.hub.service import open_foundation
from hythe.settings import Settings
from hythe.worker.protocol import Claim

OPERATOR = HubActor.operator()
WORKER = Claim("host:/builds", 0, "1.2", "linux/arm64", "buildah", "user namespace", 2)


class Hub(Bench):
    """A queue with its administration, and a clock that runs ahead."""

    def __init__(self, database: Database, access: Any) -> None:
        super().__init__(database, QueuePolicy(per_account=2))
        self.ahead = timedelta()
        self.workers = WorkerAdministration(database, access, self.queue, self.now)
        self.administration = QueueAdministration(database, access, self.queue, self.workers, self.now)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    async def seen(self) -> list[tuple[str, int | None, WaitReason | None]]:
        """Return (branch, position, reason) of each build in the list."""
        page = await self.administration.list(OPERATOR, Paging())
        assert page.total == len(page.items)
        return [(each.ref.name, each.position, each.reason) for each in page.items]

    async def connect(self, claim: Claim = WORKER) -> ListedWorker:
        """Let a worker ask for a build that there is not, and return it."""
        await self.workers.record(claim, "192.0.2.7")
        return next(each for each in await self.workers.list(OPERATOR) if each.name == claim.worker)

    async def audited(self) -> list[tuple[str, str, str]]:
        async with self.database.reading() as session:
            columns = (audit_entries.c.action, audit_entries.c.target, audit_entries.c.namespace)
            return [tuple(row) for row in await session.rows(select(*columns).order_by(audit_entries.c.id))]


@pytest.fixture
def hub(run: Run[Any], database: Database, tmp_path: Path) -> Iterator[Hub]:
    """A hub without builds."""
    stack, settings = AsyncExitStack(), Settings(data=str(tmp_path))

    async def open_all() -> Hub:
        foundation = await stack.enter_async_context(open_foundation(database, settings, hasher=CHEAP_HASHER))
        return Hub(database, foundation.access)

    yield run(open_all())
    run(stack.aclose())


def test_why_builds_wait(hub: Hub, run: Run[Any]) -> None:
    """Without a worker, while all drain, when all are busy, and by the limits of accounts and branches."""

    async def scenario() -> None:
        busy, quiet = await hub.set_up("busy/a"), await hub.set_up("quiet/a")
        await hub.push(busy, "1", "one")
        assert await hub.seen() == [("one", 1, WaitReason.NO_WORKER)]
        worker = await hub.connect()
        assert await hub.seen() == [("one", 1, WaitReason.STARTING)]
        await hub.workers.drain(OPERATOR, worker.id, draining=True)
        assert await hub.seen() == [("one", 1, WaitReason.WORKERS_DRAINING)]
        await hub.workers.drain(OPERATOR, worker.id, draining=False)

        assert await hub.queue.claim(WORKER.worker)
        await hub.push(busy, "2", "one")
        for branch in ("two", "three"):
            await hub.push(busy, "1", branch)
        await hub.push(quiet, "1", "main")
        assert await hub.seen() == [
            ("one", None, None),
            ("main", 1, WaitReason.STARTING),
            ("one", 2, WaitReason.SAME_BRANCH),
            ("two", 3, WaitReason.WORKERS_BUSY),
            ("three", 4, WaitReason.WORKERS_BUSY),
        ]
        await hub.connect(Claim("other", concurrency=5))
        assert [reason for _, _, reason in await hub.seen()][2:] == [
            WaitReason.SAME_BRANCH,
            WaitReason.STARTING,
            WaitReason.ACCOUNT_LIMIT,
        ]

    run(scenario())


def test_pages_of_the_queue(hub: Hub, run: Run[Any]) -> None:
    """By number and by cursor; running builds come first."""

    async def scenario() -> None:
        configuration = await hub.set_up("ann/private")
        for number in range(5):
            await hub.push(configuration, "1", f"branch-{number}")
        await hub.claim()
        first = await hub.administration.list(OPERATOR, Paging(page_size=2))
        second = await hub.administration.list(OPERATOR, Paging(page_size=2, cursor=first.next))
        same = await hub.administration.list(OPERATOR, Paging(page=2, page_size=2))
        last = await hub.administration.list(OPERATOR, Paging(page_size=2, cursor=second.next))
        back = await hub.administration.list(OPERATOR, Paging(page_size=2, cursor=second.previous))

        def branches(items: tuple[QueuedBuild, ...]) -> list[str]:
            return [each.ref.name for each in items]

        assert branches(first.items) == branches(back.items) == ["branch-0", "branch-1"]
        assert branches(second.items) == branches(same.items) == ["branch-2", "branch-3"]
        assert (branches(last.items), last.next, first.previous) == (["branch-4"], "", "")
        assert {each.repository for each in first.items} == {"ann/private"}
        with pytest.raises(Invalid):
            await hub.administration.list(OPERATOR, Paging(cursor="x"))
        with pytest.raises(SignInNeeded):
            await hub.administration.list(ANONYMOUS, Paging())

    run(scenario())


@pytest.mark.parametrize("page_size", [1, 2, 7, 100])
def test_pages_have_the_order_in_which_builds_start(hub: Hub, run: Run[Any], page_size: int) -> None:
    """Accounts take turns: whatever the size of pages, they list builds in the order in which workers get them."""

    async def scenario() -> None:
        accounts = {name: await hub.set_up(f"{name}/app") for name in ("ann", "ben", "eve")}
        for number, letter in enumerate("aaaeabaeaabea"):
            owner = next(name for name in accounts if name[0] == letter)
            await hub.push(accounts[owner], "1", f"branch-{number}")
        hub.queue.apply(QueuePolicy(per_account=0))
        started = [(await hub.claim()).build.id for _ in range(3)]

        pages = [await hub.administration.list(OPERATOR, Paging(page_size=page_size))]
        while pages[-1].next:
            cursor = pages[-1].next
            pages.append(await hub.administration.list(OPERATOR, Paging(page_size=page_size, cursor=cursor)))
        back = [pages[-1]]
        while back[-1].previous:
            cursor = back[-1].previous
            back.append(await hub.administration.list(OPERATOR, Paging(page_size=page_size, cursor=cursor)))
        by_number = [
            await hub.administration.list(OPERATOR, Paging(page=number, page_size=page_size))
            for number in range(1, len(pages) + 1)
        ]

        listed = [build for page in pages for build in page.items]
        assert [build.id for page in reversed(back) for build in page.items] == [build.id for build in listed]
        assert [page.items for page in by_number] == [page.items for page in pages]
        assert {page.total for page in pages} == {13}
        assert [build.position for build in listed] == [None, None, None, *range(1, 11)]
        assert [build.reason for build in listed[3:]] == [WaitReason.NO_WORKER] * 10
        assert [build.id for build in listed] == started + [(await hub.claim()).build.id for _ in range(10)]

    run(scenario())


def test_a_page_of_the_queue_after_builds_started(hub: Hub, run: Run[Any]) -> None:
    """The next page continues after the last build of the page before, whatever has started since then."""

    async def scenario() -> None:
        configuration = await hub.set_up("ann/app")
        for number in range(6):
            await hub.push(configuration, "1", f"branch-{number}")
        first = await hub.administration.list(OPERATOR, Paging(page_size=2))
        await hub.claim()
        second = await hub.administration.list(OPERATOR, Paging(page_size=2, cursor=first.next))
        beyond = await hub.administration.list(OPERATOR, Paging(page=9, page_size=2))
        last = await hub.administration.list(OPERATOR, Paging(page_size=2, cursor=beyond.previous))

        assert [build.ref.name for build in second.items] == ["branch-2", "branch-3"]
        assert [build.position for build in second.items] == [2, 3]
        assert (beyond.items, beyond.total, beyond.next) == ((), 6, "")
        assert [build.ref.name for build in last.items] == ["branch-4", "branch-5"]

    run(scenario())


def test_an_administrator_cancels_builds(hub: Hub, run: Run[Any]) -> None:
    """A queued build ends, a running one stops; the owners find it in their audit log."""

    async def scenario() -> None:
        configuration = await hub.set_up("ann/app")
        running, queued = [await hub.push(configuration, "1", branch) for branch in ("one", "two")]
        claimed = await hub.claim()
        for build_id in (running, queued):
            await hub.administration.cancel(OPERATOR, build_id)

        assert await hub.seen() == [("one", None, WaitReason.STOPPING)]
        assert await hub.status(queued) is BuildStatus.CANCELLED
        await hub.queue.finish(lease_of(claimed), DONE)
        for build_id in (running, queued):
            with pytest.raises(BuildConflict, match="finished"):
                await hub.administration.cancel(OPERATOR, build_id)
        with pytest.raises(NotFound):
            await hub.administration.cancel(OPERATOR, 2**62)
        with pytest.raises(SignInNeeded):
            await hub.administration.cancel(ANONYMOUS, running)
        assert await hub.audited() == [
            ("queue.cancel-build", "ann/app#1", "ann"),
            ("queue.cancel-build", "ann/app#2", "ann"),
        ]

    run(scenario())


def test_a_lost_worker(hub: Hub, run: Run[Any]) -> None:
    """Its build waits for another one once the lease has expired."""

    async def scenario() -> None:
        configuration = await hub.set_up("ann/app")
        await hub.push(configuration, "1")
        claimed = await hub.claim()
        async with hub.database.writing() as session:
            expired = datetime.now(UTC) - timedelta(seconds=1)
            await session.run(update(builds).where(builds.c.id == claimed.build.id).values(lease_until=expired))
        assert await hub.seen() == [("main", None, WaitReason.WORKER_LOST)]

    run(scenario())


@pytest.mark.parametrize("cancelled", [True, False], ids=["cancelled", "lost"])
def test_draining_workers_end_what_no_worker_can_start(hub: Hub, run: Run[Any], cancelled: bool) -> None:
    """Builds of lost workers end while all workers drain, if they were cancelled or workers were lost too often."""

    async def scenario() -> None:
        worker = await hub.connect()
        again, ended = [await hub.push(await hub.set_up(f"{name}/app"), "1") for name in ("ann", "ben")]
        for build_id in (again, ended):
            assert (await hub.claim()).build.id == build_id
        async with hub.database.writing() as session:
            expired = datetime.now(UTC) - timedelta(seconds=1)
            await session.run(update(builds).values(lease_until=expired))
            if not cancelled:
                attempts = hub.queue.policy.attempts
                await session.run(update(builds).where(builds.c.id == ended).values(fence=attempts))
        if cancelled:
            await hub.administration.cancel(OPERATOR, ended)
        await hub.workers.drain(OPERATOR, worker.id, draining=True)

        for _ in range(2):
            assert await hub.queue.claim(WORKER.worker) is None
        assert await hub.status(ended) in (BuildStatus.CANCELLED, BuildStatus.FAILED)
        assert await hub.status(again) is BuildStatus.RUNNING
        await hub.workers.drain(OPERATOR, worker.id, draining=False)
        claimed = await hub.queue.claim(WORKER.worker)
        assert claimed is not None
        assert claimed.build.id == again

    run(scenario())


def test_workers_describe_themselves(hub: Hub, run: Run[Any]) -> None:
    """They are listed with their builds, are connected while they ask or build, and go after some days."""

    async def scenario() -> None:
        worker = await hub.connect()
        assert (worker.version, worker.platform, worker.concurrency) == ("1.2", "linux/arm64", 2)
        assert (worker.address, worker.connected, worker.builds) == ("192.0.2.7", True, ())
        changed = await hub.connect(Claim(WORKER.worker, version="1.3"))
        assert (changed.id, changed.version, changed.first_seen_at) == (worker.id, "1.3", worker.first_seen_at)

        configuration = await hub.set_up("ann/app")
        await hub.push(configuration, "1")
        assert await hub.queue.claim(WORKER.worker)
        (building,) = await hub.workers.list(OPERATOR)
        assert [(each.repository, each.number) for each in building.builds] == [("ann/app", 1)]

        hub.ahead = CONNECTED + timedelta(minutes=1)
        (silent,) = await hub.workers.list(OPERATOR)
        assert not silent.connected
        hub.ahead = KEPT + timedelta(minutes=1)
        await hub.connect(Claim("new"))
        assert [each.name for each in await hub.workers.list(OPERATOR)] == ["new"]

    run(scenario())


def test_a_draining_worker_writes_nothing_while_builds_wait(
    hub: Hub, run: Run[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks every second: each of its requests only reads, until an account has no minutes left."""

    async def scenario() -> None:
        configuration = await hub.set_up("ann/app")
        waiting = await hub.push(configuration, "1", "one")
        worker = await hub.connect()
        await hub.workers.drain(OPERATOR, worker.id, draining=True)

        written: list[str] = []
        writing = hub.database.writing

        def counted(*arguments: Any, **options: Any) -> Any:
            written.append("once")
            return writing(*arguments, **options)

        monkeypatch.setattr(hub.database, "writing", counted)
        assert await hub.queue.claim(WORKER.worker) is None
        assert written == []

        async def no_minutes(_session: Any, _account: str) -> str:
            return "no minutes left"

        monkeypatch.setattr(hub.queue, "minutes_problem", no_minutes)
        assert await hub.queue.claim(WORKER.worker) is None
        assert written == ["once"]
        assert await hub.status(waiting) is BuildStatus.FAILED

    run(scenario())


def test_a_draining_worker_gets_no_builds(hub: Hub, run: Run[Any]) -> None:
    """Others do, and it does after that; only a worker that has stopped is removed from the list."""

    async def scenario() -> None:
        worker = await hub.connect()
        configuration = await hub.set_up("ann/app")
        await hub.push(configuration, "1")
        assert (await hub.workers.drain(OPERATOR, worker.id, draining=True)).draining
        await hub.connect(Claim(WORKER.worker, version="restarted"))
        assert await hub.queue.claim(WORKER.worker) is None
        assert await hub.queue.claim("other") is not None

        await hub.push(configuration, "1", "two")
        await hub.workers.drain(OPERATOR, worker.id, draining=False)
        await hub.workers.drain(OPERATOR, worker.id, draining=False)
        claimed = await hub.queue.claim(WORKER.worker)
        assert claimed is not None
        with pytest.raises(Refused, match="connected"):
            await hub.workers.remove(OPERATOR, worker.id)
        await hub.queue.finish(lease_of(claimed), DONE)
        hub.ahead = CONNECTED + timedelta(minutes=1)
        await hub.workers.remove(OPERATOR, worker.id)
        for change in (hub.workers.remove(OPERATOR, worker.id), hub.workers.drain(OPERATOR, worker.id, draining=True)):
            with pytest.raises(NotFound):
                await change
        assert [action for action, target, _ in await hub.audited() if target == WORKER.worker] == [
            "worker.drain",
            "worker.drain",
            "worker.remove",
        ]

    run(scenario())
