"""Upload sessions of which the database forgot the latest changes, as after a crash."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import nullcontext

import pytest
from sqlalchemy import update
from tests.unit.registry.depot import ANN, Depot, pieces

from hythe.database.tables.registry import uploads
from hythe.oci.digest import Digest
from hythe.oci.errors import ErrorCode, WireError
from hythe.registry.uploads import Chunk


def forget(depot: Depot, **values: object) -> None:
    """Undo changes of all sessions."""

    async def change() -> None:
        async with depot.database.writing() as session:
            await session.run(update(uploads).values(**values))

    depot.run(change())


def session_with(depot: Depot, content: bytes) -> str:
    """Return a session whose bytes are stored, and whose row does not know it."""
    upload = depot.run(depot.registry.uploads.start(ANN, "a"))
    depot.run(depot.registry.uploads.append(ANN, "a", upload.id, Chunk(pieces(content))))
    forget(depot, offset=0, state="")
    return str(upload.id)


@pytest.mark.parametrize("length", [0, None])
def test_the_end_of_a_forgotten_upload(depot: Depot, length: int | None) -> None:
    """With or without Content-Length: the store has all bytes."""
    upload_id = session_with(depot, b"content")
    last = Chunk(pieces(), length=length)

    size = depot.run(depot.registry.uploads.finish(ANN, "a", upload_id, Digest.of(b"content"), last))

    assert size == len(b"content")
    assert depot.has_blob("a", b"content")


def test_the_rest_of_a_forgotten_upload(depot: Depot) -> None:
    """Bytes that belong behind the forgotten ones are refused with their offset; the session goes on from there."""
    upload_id = session_with(depot, b"con")
    finish = depot.registry.uploads.finish

    with pytest.raises(WireError) as refused:
        depot.run(finish(ANN, "a", upload_id, Digest.of(b"content"), Chunk(pieces(b"tent"))))
    size = depot.run(finish(ANN, "a", upload_id, Digest.of(b"content"), Chunk(pieces(b"tent"), start=3)))

    assert (refused.value.status, refused.value.headers) == (416, {"Range": "0-2"})
    assert size == len(b"content")


def test_all_bytes_sent_again(depot: Depot) -> None:
    """A client that starts over in the same session is right, too."""
    upload_id = session_with(depot, b"con")

    depot.run(
        depot.registry.uploads.finish(ANN, "a", upload_id, Digest.of(b"content"), Chunk(pieces(b"content"), start=0))
    )

    assert depot.has_blob("a", b"content")


@pytest.mark.parametrize(("content", "digest"), [(b"con", b"content"), (b"", b"content")])
def test_bytes_of_another_digest_end_the_session(depot: Depot, content: bytes, digest: bytes) -> None:
    """What was recovered is wrong, or everything is lost."""
    upload_id = session_with(depot, content)
    finish = depot.registry.uploads.finish

    with pytest.raises(WireError) as first:
        depot.run(finish(ANN, "a", upload_id, Digest.of(digest), Chunk(pieces())))
    with pytest.raises(WireError) as second:
        depot.run(finish(ANN, "a", upload_id, Digest.of(digest), Chunk(pieces())))

    assert first.value.code is (ErrorCode.DIGEST_INVALID if content else ErrorCode.BLOB_UPLOAD_UNKNOWN)
    assert second.value.code is ErrorCode.BLOB_UPLOAD_UNKNOWN


@pytest.mark.parametrize("deleted", [False, True])
def test_a_forgotten_claim(depot: Depot, monkeypatch: pytest.MonkeyPatch, deleted: bool) -> None:
    """Without it, garbage collection may have deleted the bytes: then the client starts again."""
    put = depot.storage.put

    async def put_and_crash(digest: Digest, body: AsyncIterator[bytes]) -> int:
        size = await put(digest, body)
        async with depot.database.writing() as session:
            await session.run(update(uploads).values(digest=None))
        if deleted:
            await depot.storage.delete([digest])
        return size

    monkeypatch.setattr(depot.storage, "put", put_and_crash)
    with pytest.raises(WireError) if deleted else nullcontext() as refused:
        depot.push_blob("a", b"content")

    assert depot.has_blob("a", b"content") is not deleted
    assert refused is None or refused.value.code is ErrorCode.BLOB_UPLOAD_UNKNOWN
