"""Limits of a namespace: what is refused, what costs nothing, and that nothing of a refused push stays."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from tests.parts.database import Run
from tests.unit.registry.depot import ANN, GRACE, Clock, Depot, image, pieces

from hythe.database import Database
from hythe.oci.digest import Digest
from hythe.oci.errors import ErrorCode, WireError
from hythe.oci.manifest import OCI_MANIFEST
from hythe.registry.access import UNLIMITED, Action, Actor, Limits
from hythe.registry.anonymous import AnonymousAccess
from hythe.registry.policy import Policy
from hythe.registry.quota import IDLE_TIME, UNRESERVED_SIZE, QuotaExceeded
from hythe.registry.service import RegistryServices
from hythe.registry.sql import usage
from hythe.registry.storage import open_blob_store
from hythe.registry.uploads import BodyCut, Chunk

KIB = 1024
MIB = 1024 * KIB


class LimitedAccess(AnonymousAccess):
    """Everyone may do everything, within the limits of ``ann``."""

    limits = UNLIMITED

    async def require(self, actor: Actor, repository: str, action: Action) -> Limits:
        """See Access."""
        return self.limits if repository.startswith("ann/") else UNLIMITED

    def limit(self, storage: int | None = None, uploads: int | None = None) -> None:
        """Set the limits of ``ann``."""
        self.limits = Limits("ann", storage, uploads)


@pytest.fixture
def access() -> LimitedAccess:
    """The limits that a test can change."""
    return LimitedAccess()


@pytest.fixture
def depot(run: Run[Any], database: Database, access: LimitedAccess, tmp_path: Path) -> Iterator[Depot]:
    """An empty registry with limits."""
    clock = Clock()
    storage = open_blob_store(tmp_path / "blobs")
    policy = Policy(grace=GRACE, upload_lifetime=100 * GRACE)
    registry = RegistryServices(database, storage, access, (), policy, clock)
    yield Depot(run, database, storage, registry, clock)
    run(storage.close())


def used(depot: Depot, namespace: str = "ann") -> usage.Usage:
    """Return what the namespace uses."""

    async def read() -> usage.Usage:
        async with depot.database.writing() as session:
            return await usage.lock(session, namespace)

    found: usage.Usage = depot.run(read())
    return found


def put(depot: Depot, repository: str, content: bytes, *, announced: bool = True) -> ErrorCode | None:
    """Push a whole blob, with or without its length; return the code of the refusal."""
    length = len(content) if announced else None
    return code_of(depot, depot.registry.uploads.put(ANN, repository, Digest.of(content), pieces(content), length))


def code_of(depot: Depot, call: Any) -> ErrorCode | None:
    """Run a call; return the code of its refusal."""
    try:
        depot.run(call)
    except WireError as error:
        return error.code
    return None


def refusals(depot: Depot, calls: list[Any]) -> list[WireError]:
    """Run all calls at the same time; return the refusals."""

    async def all_at_once() -> list[Any]:
        return await asyncio.gather(*calls, return_exceptions=True)

    results = depot.run(all_at_once())
    unexpected = [each for each in results if isinstance(each, Exception) and not isinstance(each, WireError)]
    assert unexpected == []
    return [each for each in results if isinstance(each, WireError)]


def blob(number: int, size: int = KIB) -> bytes:
    """Return content that differs by number."""
    return number.to_bytes(8) * (size // 8)


@pytest.mark.parametrize("announced", [True, False])
def test_the_last_byte_fits_and_no_more(depot: Depot, access: LimitedAccess, announced: bool) -> None:
    """Blobs up to the limit are stored; the next byte is refused, with words, and leaves nothing."""
    access.limit(storage=2 * KIB)

    assert put(depot, "ann/a", blob(1), announced=announced) is None
    assert put(depot, "ann/b", blob(2), announced=announced) is None
    with pytest.raises(QuotaExceeded) as refused:
        depot.run(depot.registry.uploads.put(ANN, "ann/c", Digest.of(b"!"), pieces(b"!")))

    assert refused.value.status == HTTPStatus.FORBIDDEN
    assert refused.value.message == "ann stores 2 KiB of 2 KiB: delete images or ask an administrator for more"
    assert (used(depot).stored, used(depot).uploads) == (2 * KIB, 0)
    assert not depot.is_stored(b"!")
    assert put(depot, "ben/a", blob(3)) is None


def test_the_message_says_what_does_not_fit(depot: Depot, access: LimitedAccess) -> None:
    """The size of the refused blob, what is stored, and what is being uploaded."""
    access.limit(storage=4 * MIB)
    put(depot, "ann/a", blob(1, MIB))
    upload = depot.run(depot.registry.uploads.start(ANN, "ann/a"))
    depot.run(depot.registry.uploads.append(ANN, "ann/a", upload.id, Chunk(pieces(blob(2, MIB)))))

    content = blob(3, 3 * MIB)
    with pytest.raises(QuotaExceeded) as refused:
        depot.run(depot.registry.uploads.put(ANN, "ann/a", Digest.of(content), pieces(content), len(content)))

    assert refused.value.message == (
        "ann stores 1 MiB of 4 MiB and uploads 1 MiB, 3 MiB more do not fit: "
        "delete images or ask an administrator for more"
    )


def test_what_the_namespace_has_costs_nothing(depot: Depot, access: LimitedAccess) -> None:
    """The same blob in another repository, by mount and by upload, counts once, also beyond a lowered limit."""
    access.limit(storage=KIB)
    put(depot, "ann/a", blob(1))

    assert depot.run(depot.registry.blobs.mount(ANN, "ann/b", Digest.of(blob(1)), "ann/a"))
    assert put(depot, "ann/c", blob(1)) is None
    access.limit(storage=10)
    assert depot.run(depot.registry.blobs.mount(ANN, "ann/d", Digest.of(blob(1)), "ann/a"))
    assert put(depot, "ann/e", blob(1)) is None

    assert used(depot).stored == KIB


def test_a_false_claim_to_have_the_blob(depot: Depot, access: LimitedAccess) -> None:
    """The digest of a blob that the namespace has does not let other bytes pass."""
    access.limit(storage=4 * MIB)
    put(depot, "ann/a", blob(1))
    received = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal received
        while received < 100 * MIB:
            received += MIB
            yield bytes(MIB)

    announced = depot.registry.uploads.put(ANN, "ann/a", Digest.of(blob(1)), endless(), 100 * MIB)
    assert code_of(depot, announced) is ErrorCode.DENIED
    assert received == 0
    unknown = depot.registry.uploads.put(ANN, "ann/a", Digest.of(blob(1)), endless())
    assert code_of(depot, unknown) is ErrorCode.DENIED
    assert received <= 5 * MIB
    assert used(depot).uploads == 0


def test_a_mount_from_another_namespace_counts(depot: Depot, access: LimitedAccess) -> None:
    """A blob of another account is new to this one: its bytes must fit, or nothing is created."""
    access.limit(storage=KIB)
    put(depot, "ben/a", blob(1))
    put(depot, "ben/a", blob(2))

    assert depot.run(depot.registry.blobs.mount(ANN, "ann/a", Digest.of(blob(1)), "ben/a"))
    mount = depot.registry.blobs.mount(ANN, "ann/b", Digest.of(blob(2)), "ben/a")
    assert code_of(depot, mount) is ErrorCode.DENIED

    assert used(depot).stored == KIB
    assert code_of(depot, depot.registry.repositories.get(ANN, "ann/b")) is ErrorCode.NAME_UNKNOWN


def test_manifests_count(depot: Depot, access: LimitedAccess) -> None:
    """A manifest is refused at the limit; one that the repository has can be pushed and tagged again."""
    manifest = image(blob(1))
    size = len(json.dumps(manifest).encode())
    access.limit(storage=KIB + 2 + size)
    digest = depot.push_image("ann/a", "v1", layer=blob(1))
    assert used(depot).stored == KIB + 2 + size

    assert depot.push("ann/a", manifest, "v2") == digest
    other = json.dumps(image(blob(1), annotations={"other": "yes"})).encode()
    call = depot.registry.manifests.put(ANN, "ann/a", Digest.of(other), ("v3",), other, OCI_MANIFEST)
    assert code_of(depot, call) is ErrorCode.DENIED

    assert depot.tags("ann/a") == ("v1", "v2")
    assert depot.has_manifest("ann/a", digest)


def test_chunks_are_cut_where_the_limit_is(depot: Depot, access: LimitedAccess) -> None:
    """A body without a length is refused before much more than the limit came; the session and its bytes are gone."""
    access.limit(storage=3 * MIB)
    received = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal received
        while received < 100 * MIB:
            received += 64 * KIB
            yield bytes(64 * KIB)

    upload = depot.run(depot.registry.uploads.start(ANN, "ann/a"))
    append = depot.registry.uploads.append(ANN, "ann/a", upload.id, Chunk(endless()))
    assert code_of(depot, append) is ErrorCode.DENIED

    assert received <= 3 * MIB + 64 * KIB
    assert used(depot) == usage.Usage(0, 0, 0, None)
    assert put(depot, "ann/a", blob(1, 3 * MIB)) is None


def test_announced_chunks_are_refused_before_they_are_read(depot: Depot, access: LimitedAccess) -> None:
    """With a Content-Length beyond the limit, no byte is read."""
    access.limit(storage=3 * MIB)
    upload = depot.run(depot.registry.uploads.start(ANN, "ann/a"))

    async def unread() -> AsyncIterator[bytes]:
        pytest.fail("the body was read")
        yield b""

    append = depot.registry.uploads.append(ANN, "ann/a", upload.id, Chunk(unread(), length=4 * MIB))
    assert code_of(depot, append) is ErrorCode.DENIED


def test_many_small_chunks(depot: Depot, access: LimitedAccess) -> None:
    """Chunks below the size that needs no reservation add up."""
    access.limit(storage=2 * MIB)
    upload = depot.run(depot.registry.uploads.start(ANN, "ann/a"))
    codes = []
    for number in range(6):
        chunk = Chunk(pieces(blob(number, UNRESERVED_SIZE // 2)))
        codes.append(code_of(depot, depot.registry.uploads.append(ANN, "ann/a", upload.id, chunk)))

    assert codes == [None] * 4 + [ErrorCode.DENIED, ErrorCode.BLOB_UPLOAD_UNKNOWN]


def test_open_sessions_share_the_limit(depot: Depot, access: LimitedAccess) -> None:
    """Bytes in unfinished sessions count: many sessions cannot hold more than the limit, but for their first MiB."""
    access.limit(storage=8 * MIB)
    uploads = [depot.run(depot.registry.uploads.start(ANN, f"ann/{number}")) for number in range(6)]
    for number, upload in enumerate(uploads):
        body = pieces(*[bytes(256 * KIB)] * 16)
        code_of(depot, depot.registry.uploads.append(ANN, f"ann/{number}", upload.id, Chunk(body)))

    assert used(depot).uploading <= 8 * MIB + 6 * UNRESERVED_SIZE


def test_pushes_at_the_same_time_cannot_exceed_the_limit(depot: Depot, access: LimitedAccess) -> None:
    """Of ten pushes and ten mounts at once, as many get through as fit, and the same blob counts once."""
    access.limit(storage=5 * KIB)
    for number in range(10):
        put(depot, "ben/a", blob(100 + number))

    def push(number: int) -> Any:
        digest = Digest.of(blob(number))
        if number >= 100:
            return depot.registry.blobs.mount(ANN, f"ann/{number}", digest, "ben/a")
        return depot.registry.uploads.put(ANN, f"ann/{number}", digest, pieces(blob(number)), KIB)

    calls = [push(number) for pair in range(10) for number in (pair, 100 + pair)]
    refused = refusals(depot, calls)

    assert len(refused) == 15
    assert {error.code for error in refused} == {ErrorCode.DENIED}
    assert (used(depot).stored, used(depot).uploads) == (5 * KIB, 0)


def test_the_same_blob_at_the_same_time(depot: Depot, access: LimitedAccess) -> None:
    """Pushes of one blob to several repositories count once in the end."""
    access.limit(storage=10 * KIB)

    async def push(number: int) -> int:
        content = blob(1)
        return await depot.registry.uploads.put(ANN, f"ann/{number}", Digest.of(content), pieces(content), KIB)

    async def all_at_once() -> list[int]:
        return await asyncio.gather(*map(push, range(8)))

    depot.run(all_at_once())
    assert used(depot).stored == KIB


def test_uploads_are_counted_exactly(depot: Depot, access: LimitedAccess) -> None:
    """Of twenty sessions opened at once five are; an ended one makes room; other namespaces are not concerned."""
    access.limit(uploads=5)

    first = depot.run(depot.registry.uploads.start(ANN, "ann/a"))
    refused = refusals(depot, [depot.registry.uploads.start(ANN, f"ann/{number % 3}") for number in range(19)])

    assert used(depot).uploads == 5
    assert {(error.code, error.status) for error in refused} == {
        (ErrorCode.TOOMANYREQUESTS, HTTPStatus.TOO_MANY_REQUESTS)
    }
    assert {error.message for error in refused} == {
        "ann has 5 unfinished uploads, the maximum: push again when some have ended"
    }
    assert put(depot, "ann/a", blob(1)) is ErrorCode.TOOMANYREQUESTS
    assert depot.run(depot.registry.uploads.start(ANN, "ann-lee/a"))
    depot.run(depot.registry.uploads.cancel(ANN, "ann/a", first.id))
    assert put(depot, "ann/a", blob(1)) is None


def test_abandoned_sessions_make_room(depot: Depot, access: LimitedAccess) -> None:
    """After a push was interrupted, the next one is not refused for a day, for its number nor for its bytes."""
    access.limit(storage=4 * MIB, uploads=1)
    upload = depot.run(depot.registry.uploads.start(ANN, "ann/a"))

    async def cut() -> AsyncIterator[bytes]:
        yield bytes(3 * MIB)
        raise BodyCut("the client disconnected")

    with pytest.raises(BodyCut):
        depot.run(depot.registry.uploads.append(ANN, "ann/a", upload.id, Chunk(cut())))
    assert used(depot).uploading == 3 * MIB
    assert put(depot, "ann/a", blob(1, 2 * MIB)) is ErrorCode.TOOMANYREQUESTS
    depot.clock.forward(IDLE_TIME + timedelta(seconds=1))

    assert put(depot, "ann/a", blob(1, 2 * MIB)) is None
    assert used(depot) == usage.Usage(2 * MIB, 0, 0, None)


@pytest.mark.parametrize("storage", [None, 100 * MIB])
def test_a_slow_upload_is_not_abandoned(depot: Depot, access: LimitedAccess, storage: int | None) -> None:
    """A request that takes longer than sessions may be idle keeps its session, also if others need room."""
    access.limit(storage=storage, uploads=1)
    upload = depot.run(depot.registry.uploads.start(ANN, "ann/a"))
    refused = []

    async def slow() -> AsyncIterator[bytes]:
        for _ in range(8):
            depot.clock.forward(IDLE_TIME / 4)
            yield b"12345678"
            with pytest.raises(QuotaExceeded) as error:
                await depot.registry.uploads.start(ANN, "ann/b")
            refused.append(error)

    depot.run(depot.registry.uploads.append(ANN, "ann/a", upload.id, Chunk(slow())))

    assert len(refused) == 8
    content = b"12345678" * 8
    finish = depot.registry.uploads.finish(ANN, "ann/a", upload.id, Digest.of(content), Chunk(pieces(), length=0))
    assert depot.run(finish) == len(content)


def test_a_lowered_limit_keeps_what_is_there(depot: Depot, access: LimitedAccess) -> None:
    """Reads and deletions go on; pushes are refused until enough was deleted."""
    digest = depot.push_image("ann/a", "v1", layer=blob(1))
    access.limit(storage=100)

    assert depot.has_manifest("ann/a", digest)
    assert depot.has_blob("ann/a", blob(1))
    assert put(depot, "ann/a", b"more") is ErrorCode.DENIED
    depot.run(depot.registry.tags.delete(ANN, "ann/a", "v1"))
    depot.collect_after_grace()
    depot.collect_after_grace()
    assert used(depot).stored == 0
    assert put(depot, "ann/a", b"more") is None


def test_deleting_a_repository_frees_its_bytes_at_once(depot: Depot, access: LimitedAccess) -> None:
    """A blob that another repository of the namespace has stays counted."""
    access.limit(storage=100 * KIB)
    for content in (blob(1), blob(2)):
        put(depot, "ann/a", content)
    depot.run(depot.registry.blobs.mount(ANN, "ann/b", Digest.of(blob(2)), "ann/a"))

    depot.run(depot.registry.repositories.delete(ANN, "ann/a"))

    assert used(depot).stored == KIB
