"""The garbage collection: what nothing needs goes after its grace period, and nothing else does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from tests.parts.database import Run
from tests.unit.registry.depot import ANN, GRACE, Depot, index, pieces, subject

from hythe.database import Session
from hythe.database.tables.registry import blobs, manifests
from hythe.oci.digest import Digest
from hythe.oci.errors import ErrorCode, WireError
from hythe.registry import garbage_collection as garbage
from hythe.registry.garbage_collection import Collected
from hythe.registry.policy import Policy
from hythe.registry.sql import repositories as repository_store
from hythe.registry.storage.port import StorageUnavailable
from hythe.registry.uploads import BodyCut, Chunk


def test_what_is_tagged_stays(depot: Depot) -> None:
    """An image with a tag, its blobs and the index around it outlive any number of rounds."""
    child = depot.push_image("a", layer=b"one")
    depot.push("a", index(child), "multi")

    collected = [depot.collect_after_grace(), depot.collect_after_grace()]

    assert all(c.manifests == () and c.blobs == () for c in collected)
    assert depot.has_manifest("a", child)
    assert depot.has_blob("a", b"one")
    assert collected[1].waiting == 0


def test_what_was_pushed_by_digest_stays(depot: Depot) -> None:
    """A manifest needs no tag to live."""
    digest = depot.push_image("a")

    depot.collect_after_grace()

    assert depot.has_manifest("a", digest)
    assert depot.has_blob("a", b"layer")


def test_deleted_manifest_frees_its_blobs_after_the_grace_period(depot: Depot) -> None:
    """The manifest goes at once, its blobs when the grace period is over."""
    digest = depot.push_image("a", "v1")
    depot.run(depot.registry.manifests.delete(ANN, "a", digest))

    early = depot.collect()
    there = depot.is_stored(b"layer")
    late = depot.collect_after_grace()

    assert (early.blobs, there) == ((), True)
    assert {blob.digest for blob in late.blobs} == {str(Digest.of(b"layer")), str(Digest.of(b"{}"))}
    assert late.freed_bytes == len(b"layer{}")
    assert not depot.is_stored(b"layer")


def test_deleted_blob_frees_its_bytes_after_the_grace_period(depot: Depot) -> None:
    """It cannot be pulled at once, and its bytes go when nobody had them mounted meanwhile."""
    depot.push_blob("a", b"layer")
    depot.run(depot.registry.blobs.delete(ANN, "a", Digest.of(b"layer")))

    there = depot.has_blob("a", b"layer")
    collected = depot.collect_after_grace()

    assert not there
    assert [blob.digest for blob in collected.blobs] == [str(Digest.of(b"layer"))]
    assert not depot.is_stored(b"layer")


def test_deleted_tag_frees_its_manifest_after_the_grace_period(depot: Depot) -> None:
    """An untagged manifest is kept for the grace period, then it and its blobs are freed."""
    digest = depot.push_image("a", "v1")
    depot.run(depot.registry.tags.delete(ANN, "a", "v1"))

    early = depot.collect()
    late = depot.collect_after_grace()

    assert (early.manifests, early.blobs) == ((), ())
    assert [manifest.digest for manifest in late.manifests] == [str(digest)]
    assert not depot.has_manifest("a", digest)


def test_deleted_tag_frees_an_index_with_children_and_referrers(depot: Depot) -> None:
    """One round after the grace period takes the index, its children, their referrers, and all blobs."""
    children = [depot.push_image("a", layer=layer) for layer in (b"one", b"two")]
    top = depot.push("a", index(*children), "multi")
    referrer = depot.push_image("a", layer=b"sbom", subject=subject(top))
    depot.run(depot.registry.tags.delete(ANN, "a", "multi"))

    collected = depot.collect_after_grace()

    assert {m.digest for m in collected.manifests} == {str(d) for d in (*children, top, referrer)}
    assert not any(depot.is_stored(content) for content in (b"one", b"two", b"sbom", b"{}"))


def test_shared_child_and_shared_layer_stay(depot: Depot) -> None:
    """What another index, another tag, or another image needs is not taken along."""
    shared = depot.push_image("a", layer=b"shared")
    lonely = depot.push_image("a", layer=b"lonely")
    depot.push("a", index(shared, lonely), "both")
    depot.push("a", index(shared), "kept")
    depot.push_image("a", "also", layer=b"lonely", config=b"{}", annotations={"x": "y"})
    depot.run(depot.registry.tags.delete(ANN, "a", "both"))

    collected = depot.collect_after_grace()

    assert str(lonely) in {m.digest for m in collected.manifests}
    assert depot.has_manifest("a", shared)
    assert depot.has_blob("a", b"shared")
    assert depot.has_blob("a", b"lonely")
    assert depot.has_manifest("a", "also")


def test_referrer_without_its_tag_stays_with_its_subject(depot: Depot) -> None:
    """A signature whose own tag was deleted is needed for as long as what it signs is there."""
    signed = depot.push_image("a", "v1")
    signature = depot.push("a", index(subject=subject(signed)), "signature")
    depot.run(depot.registry.tags.delete(ANN, "a", "signature"))

    depot.collect_after_grace()
    beside_it = depot.has_manifest("a", signature)
    depot.run(depot.registry.manifests.delete(ANN, "a", signed))
    depot.collect_after_grace()

    assert beside_it
    assert not depot.has_manifest("a", signature)


def test_referrer_of_a_subject_that_never_came_stays(depot: Depot) -> None:
    """Missing subjects are allowed, so they are no reason to take a referrer."""
    digest = depot.push_image("a", subject=subject(Digest.of(b"absent")))

    depot.collect_after_grace()

    assert depot.has_manifest("a", digest)


def test_manifest_that_is_tagged_again_stays(depot: Depot) -> None:
    """A new tag before the end of the grace period saves an image whose tag was deleted."""
    depot.push_image("a", "old")
    depot.run(depot.registry.tags.delete(ANN, "a", "old"))
    depot.push_image("a", "new")

    depot.collect_after_grace()

    assert depot.has_manifest("a", "new")
    assert depot.has_blob("a", b"layer")


def test_blob_of_another_repository_stays(depot: Depot) -> None:
    """Bytes go when no repository has them any more."""
    depot.push_image("a", "v1")
    depot.push_image("b", "v1")
    depot.run(depot.registry.repositories.delete(ANN, "a"))

    depot.collect_after_grace()
    kept = depot.has_blob("b", b"layer")
    depot.run(depot.registry.repositories.delete(ANN, "b"))
    depot.collect_after_grace()

    assert kept
    assert not depot.is_stored(b"layer")


def test_blob_that_no_manifest_ever_needed_goes(depot: Depot) -> None:
    """An upload whose manifest never came is freed after the grace period."""
    depot.push_blob("a", b"orphan")

    collected = depot.collect_after_grace()

    assert [blob.digest for blob in collected.blobs] == [str(Digest.of(b"orphan"))]
    assert not depot.has_blob("a", b"orphan")


@pytest.mark.parametrize("how", ["asked", "pushed", "mounted"])
def test_blob_that_somebody_asks_for_is_kept_for_longer(depot: Depot, how: str) -> None:
    """A client that finds a blob there may rely on it for its push: its grace period begins anew."""
    depot.push_blob("a", b"orphan")
    depot.clock.forward(GRACE * 0.9)
    if how == "asked":
        assert depot.has_blob("a", b"orphan")
    elif how == "pushed":
        depot.push_blob("a", b"orphan")
    else:
        depot.run(depot.registry.blobs.mount(ANN, "a", Digest.of(b"orphan"), "a"))
    depot.clock.forward(GRACE * 0.9)

    collected = depot.collect()

    assert collected.blobs == ()
    assert depot.is_stored(b"orphan")


def test_others_are_served_between_steps(depot: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Garbage collection deletes a batch per transaction, and a push can lock the repository in between."""
    monkeypatch.setattr(garbage, "MANIFEST_STEP", 5)
    children = [depot.push_image("a", annotations={"number": str(number)}) for number in range(12)]
    depot.push("a", index(*children), "multi")
    depot.run(depot.registry.tags.delete(ANN, "a", "multi"))
    depot.clock.forward(GRACE * 1.01)
    seen: list[int] = []

    async def lock(stored: set[Digest]) -> None:
        async with asyncio.timeout(30), depot.database.writing(durable=False) as session:
            assert await repository_store.lock(session, "a", exclusive=True)
        seen.append(len(stored))

    _call_between_steps(depot, monkeypatch, lock)

    collected = depot.collect()

    assert len(collected.manifests) == 13
    assert any(0 < count < 12 for count in seen)
    assert not any(depot.has_manifest("a", child) for child in children)


def test_manifest_pulled_between_steps_is_kept(depot: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pull extends the grace period of a manifest that the current run has already listed as due."""
    monkeypatch.setattr(garbage, "MANIFEST_STEP", 1)
    for number in range(20):
        depot.push_image("a", f"v{number}", annotations={"number": str(number)})
    for number in range(20):
        depot.run(depot.registry.tags.delete(ANN, "a", f"v{number}"))
    depot.clock.forward(GRACE * 1.01)
    pulled: set[Digest] = set()

    async def pull(stored: set[Digest]) -> None:
        if len(stored) < 20:
            for digest in stored - pulled:
                pulled.add((await depot.registry.manifests.get(ANN, "a", digest)).digest)

    _call_between_steps(depot, monkeypatch, pull)

    collected = depot.collect()

    assert (len(collected.manifests), len(pulled)) == (1, 19)
    assert all(depot.has_manifest("a", digest) for digest in pulled)


def test_what_is_needed_is_looked_at_once(depot: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Manifests that others need, however many, are due no more, and go when these others have gone."""
    monkeypatch.setattr(garbage, "MANIFEST_STEP", 5)
    children = [depot.push_image("a", annotations={"number": str(number)}) for number in range(12)]
    inner = depot.push("a", index(*children), "inner")
    outer = depot.push("a", index(inner), "outer")
    depot.run(depot.registry.tags.delete(ANN, "a", "inner"))

    first = depot.collect_after_grace()
    depot.run(depot.registry.manifests.delete(ANN, "a", outer))
    last = depot.collect_after_grace()

    assert (first.manifests, first.waiting) == ((), 0)
    assert len(last.manifests) == 13


def test_dry_run_tells_and_changes_nothing(depot: Depot) -> None:
    """What a dry run lists is what the next round takes."""
    depot.push_image("a", "v1")
    depot.push_image("a", "v2", layer=b"more")
    depot.run(depot.registry.tags.delete(ANN, "a", "v1"))
    depot.clock.forward(GRACE * 1.01)

    foreseen = depot.collect(dry_run=True)
    still_there = depot.is_stored(b"layer")
    done = depot.collect()

    assert still_there
    assert (foreseen.manifests, foreseen.blobs) == (done.manifests, done.blobs)
    assert [blob.digest for blob in done.blobs] == [str(Digest.of(b"layer"))]


def test_dry_run_waits_for_nobody_and_holds_nobody_up(depot: Depot) -> None:
    """It reads alone: also while somebody writes to the very repository, and takes no turn of a writer's."""
    depot.push_image("a", "v1")
    depot.run(depot.registry.tags.delete(ANN, "a", "v1"))
    depot.clock.forward(GRACE * 1.01)

    async def look_while_somebody_writes() -> Collected:
        async with asyncio.timeout(60), depot.database.writing() as session:
            assert await repository_store.lock(session, "a", exclusive=True)
            return await depot.registry.garbage.collect(dry_run=True)

    foreseen = depot.run(look_while_somebody_writes())

    assert (len(foreseen.manifests), len(foreseen.blobs)) == (1, 2)


@pytest.mark.parametrize("policy", [Policy(grace=timedelta(0), upload_lifetime=GRACE)])
def test_dry_run_without_a_grace_period(depot: Depot) -> None:
    """What is there for the sake of what goes is due at once, and goes too, unless something needs it."""
    shared = depot.push_image("a", layer=b"shared")
    tagged = depot.push_image("a", "kept", layer=b"kept")
    inner = depot.push("a", index(depot.push_image("a", layer=b"lonely"), shared))
    top = depot.push("a", index(inner, tagged), "top")
    depot.push_image("a", layer=b"sbom", subject=subject(inner))
    depot.push_image("a", layer=b"note", subject=subject(tagged))
    depot.push("a", index(shared), "other")
    depot.collect()
    depot.run(depot.registry.tags.delete(ANN, "a", "top"))

    done = depot.collect_as_foreseen()

    assert str(top) in {manifest.digest for manifest in done.manifests}
    assert len(done.manifests) == 4
    assert len(done.blobs) == 2


def test_dry_run_says_what_waits(depot: Depot) -> None:
    """What is still in its grace period is counted, with the moment when it is due."""
    depot.push_blob("a", b"orphan")

    foreseen = depot.collect(dry_run=True)

    assert (foreseen.blobs, foreseen.waiting) == ((), 1)
    assert foreseen.next_due == depot.clock.now + GRACE


def test_abandoned_upload_is_forgotten(depot: Depot) -> None:
    """A session that nobody goes on with is gone after its lifetime, with its bytes."""
    upload = depot.run(depot.registry.uploads.start(ANN, "a"))
    depot.run(depot.registry.uploads.append(ANN, "a", upload.id, Chunk(pieces(b"some bytes"))))
    depot.clock.forward(GRACE * 2.1)

    collected = depot.collect()

    assert collected.uploads >= 1
    with pytest.raises(WireError) as refused:
        depot.run(depot.registry.uploads.get(ANN, "a", upload.id))
    assert refused.value.code is ErrorCode.BLOB_UPLOAD_UNKNOWN


def test_bytes_that_were_stored_and_never_recorded_go(depot: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that dies between storing a blob and recording it leaves a claim, by which the bytes are found."""
    upload = depot.run(depot.registry.uploads.start(ANN, "a"))
    digest = Digest.of(b"stored")

    async def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(depot.registry.uploads, "_link", die)
        with pytest.raises(KeyboardInterrupt):
            depot.run(depot.registry.uploads.finish(ANN, "a", upload.id, digest, Chunk(pieces(b"stored"))))
    stored = depot.is_stored(b"stored")
    depot.clock.forward(GRACE * 2.1)
    depot.collect()

    assert stored
    assert not depot.is_stored(b"stored")


def test_failed_removal_is_tried_again(depot: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that refuses keeps the blob out of use; a later round removes it, and it can be pushed again."""

    async def refuse(digest: Digest) -> None:
        raise StorageUnavailable("read-only")

    depot.push_blob("a", b"orphan")
    with monkeypatch.context() as failing:
        failing.setattr(depot.storage, "delete", refuse)
        depot.clock.forward(GRACE * 1.01)
        first = depot.collect()
    served = depot.has_blob("a", b"orphan")
    depot.clock.forward(timedelta(minutes=2))
    second = depot.collect()
    depot.push_blob("a", b"orphan")

    assert (first.blobs, served) == ((), False)
    assert len(second.blobs) == 1
    assert depot.has_blob("a", b"orphan")


def test_blob_whose_remover_died_can_be_pushed(depot: Depot) -> None:
    """A push takes a doomed blob over when its remover is long dead."""
    depot.push_blob("a", b"orphan")
    depot.collect_after_grace()
    depot.push_blob("a", b"orphan")

    async def doom() -> None:
        async with depot.database.writing() as session:
            await session.run(blobs.update().values(deleting_since=depot.clock.now))

    depot.run(doom())
    depot.clock.forward(timedelta(minutes=2))
    depot.push_blob("b", b"orphan")

    assert depot.has_blob("b", b"orphan")


def test_cut_body_claims_nothing_for_long(depot: Depot) -> None:
    """A push that was cut off does not keep the collection from the same blob."""

    async def cut() -> Any:
        yield b"orp"
        raise BodyCut("gone")

    depot.push_blob("a", b"orphan")
    upload = depot.run(depot.registry.uploads.start(ANN, "b"))
    with pytest.raises(BodyCut):
        depot.run(depot.registry.uploads.finish(ANN, "b", upload.id, Digest.of(b"orphan"), Chunk(cut())))

    depot.collect_after_grace()

    assert not depot.is_stored(b"orphan")


class TestReplaced:
    """With ``replaced_lifetime``, a manifest goes some time after its last tag moved away."""

    @pytest.fixture
    def policy(self) -> Policy:
        """Keep what was replaced for two hours."""
        return Policy(grace=GRACE, replaced_lifetime=2 * GRACE)

    def test_replaced_manifest_goes(self, depot: Depot) -> None:
        """Not before its time, and not what still has a tag."""
        old = depot.push_image("a", "v1", "latest", layer=b"old")
        older = depot.push_image("a", "v0", layer=b"older")
        depot.push_image("a", "latest", "v0", layer=b"new")

        depot.collect_after_grace()
        early = depot.has_manifest("a", older)
        depot.collect_after_grace()

        assert early
        assert not depot.has_manifest("a", older)
        assert depot.has_manifest("a", old)


def test_replaced_manifest_stays_without_that_setting(depot: Depot) -> None:
    """By default an earlier target of a tag can be pulled by digest, and restored, for ever."""
    old = depot.push_image("a", "latest", layer=b"old")
    depot.push_image("a", "latest", layer=b"new")

    depot.collect_after_grace()

    assert depot.has_manifest("a", old)


class TestRounds:
    """The collector of a server, round after round."""

    @pytest.fixture
    def policy(self) -> Policy:
        """No pause between rounds."""
        return Policy(grace=GRACE, garbage_interval=timedelta(0))

    def test_a_failed_round_is_not_the_last(self, depot: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whatever goes wrong in one round, the next one frees what is due."""
        depot.push_blob("a", b"orphan")
        depot.clock.forward(GRACE * 1.01)
        find = depot.storage.sweep
        failures = [RuntimeError("unforeseen"), StorageUnavailable("no disk")]

        async def sweep(*arguments: Any) -> int:
            if failures:
                raise failures.pop()
            return await find(*arguments)

        monkeypatch.setattr(depot.storage, "sweep", sweep)

        depot.run(_run_until_freed(depot, b"orphan"))

        assert not failures


async def _run_until_freed(depot: Depot, content: bytes) -> None:
    rounds = asyncio.create_task(depot.registry.garbage.run())
    async with asyncio.timeout(60):
        stored = True
        while stored and not rounds.done():
            await asyncio.sleep(0.01)
            stored = await depot.storage.stat(Digest.of(content)) is not None
    rounds.cancel()
    await asyncio.wait([rounds])
    assert rounds.cancelled()


def _call_between_steps(
    depot: Depot, monkeypatch: pytest.MonkeyPatch, request: Callable[[set[Digest]], Awaitable[None]]
) -> None:
    """Make garbage collection call ``request`` with the stored manifests before each of its steps."""
    step = depot.registry.garbage._begin_step

    @asynccontextmanager
    async def requested_step() -> AsyncIterator[Session]:
        await request(await _all_manifests(depot))
        async with step() as session:
            yield session

    monkeypatch.setattr(depot.registry.garbage, "_begin_step", requested_step)


async def _all_manifests(depot: Depot) -> set[Digest]:
    async with depot.database.reading() as session:
        return {Digest.parse(row.digest) for row in await session.rows(select(manifests.c.digest))}


def test_nothing_to_do_writes_nothing(depot: Depot, run: Run[Any]) -> None:
    """The cost of a round grows with what was deleted: with nothing marked, no repository is looked at."""
    for number in range(5):
        depot.push_image(f"r{number}", "v1")

    collected = depot.collect_after_grace()

    assert (collected.manifests, collected.blobs, collected.waiting) == ((), (), 0)
