"""Verification finds what rotted, keeps it from being served, and a push heals it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.unit.registry.depot import ANN, GRACE, Depot, image, pieces

from hythe.database.tables.registry import manifests
from hythe.oci.digest import Digest
from hythe.oci.errors import ErrorCode, WireError
from hythe.registry.verification import PARALLEL_READS, Finding

LAYER = b"a layer that will rot"


def findings(depot: Depot, what: str) -> list[Finding]:
    """Everything that one part of the verification says."""

    async def read() -> list[Finding]:
        return [finding async for finding in getattr(depot.registry.verification, what)()]

    found: list[Finding] = depot.run(read())
    return found


def stored_file(tmp_path: Path, content: bytes) -> Path:
    """The file of a blob."""
    return next(path for path in (tmp_path / "blobs").rglob(f"*{Digest.of(content).hex}") if path.is_file())


def test_all_is_well(depot: Depot) -> None:
    """Every blob and manifest is read, and none is complained of."""
    depot.push_image("a", "v1", layer=LAYER)

    blobs, kept = findings(depot, "blobs"), findings(depot, "manifests")

    assert {(finding.digest, finding.problem) for finding in blobs} == {
        (str(Digest.of(LAYER)), ""),
        (str(Digest.of(b"{}")), ""),
    }
    assert [(finding.problem, finding.repositories) for finding in kept] == [("", ("a",))]


@pytest.mark.parametrize("damage", [b"A layer that will rot", b"a layer", None])
def test_rotten_blob_is_put_aside_and_healed(depot: Depot, tmp_path: Path, damage: bytes | None) -> None:
    """Flipped, truncated or missing bytes are found; the blob is unknown until it is pushed again."""
    depot.push_image("a", "v1", layer=LAYER)
    file = stored_file(tmp_path, LAYER)
    file.unlink()
    if damage is not None:
        file.write_bytes(damage)

    found = [finding for finding in findings(depot, "blobs") if finding.problem]
    served = depot.has_blob("a", LAYER)
    with pytest.raises(WireError) as refused:
        depot.push("b", image(LAYER), "v1")
    depot.push_blob("a", LAYER)

    assert [(finding.digest, finding.repositories) for finding in found] == [(str(Digest.of(LAYER)), ("a",))]
    assert not served
    assert refused.value.code is ErrorCode.MANIFEST_BLOB_UNKNOWN
    assert depot.has_blob("a", LAYER)
    assert not any(finding.problem for finding in findings(depot, "blobs"))


def test_what_was_put_back_from_a_backup_is_served_again(depot: Depot, tmp_path: Path) -> None:
    """A blob that was put aside, and whose file is whole again, needs no push: the next verification heals it."""
    depot.push_image("a", "v1", layer=LAYER)
    file = stored_file(tmp_path, LAYER)
    file.write_bytes(LAYER[::-1])
    findings(depot, "blobs")
    file.write_bytes(LAYER)

    healed = [finding.digest for finding in findings(depot, "blobs") if finding.healed]

    assert healed == [str(Digest.of(LAYER))]
    assert depot.has_blob("a", LAYER)
    assert not any(finding.healed for finding in findings(depot, "blobs"))


def test_truncated_blob_is_not_served_as_whole(depot: Depot, tmp_path: Path) -> None:
    """Also before anybody verified: a file of another size is an error, never a short body."""
    depot.push_image("a", "v1", layer=LAYER)
    stored_file(tmp_path, LAYER).write_bytes(LAYER[:5])

    assert not depot.has_blob("a", LAYER)


def test_quarantined_blob_cannot_be_mounted(depot: Depot, tmp_path: Path) -> None:
    """A mount of a damaged blob asks for its bytes instead."""
    depot.push_image("a", "v1", layer=LAYER)
    stored_file(tmp_path, LAYER).write_bytes(LAYER[::-1])
    findings(depot, "blobs")

    assert not depot.run(depot.registry.blobs.mount(ANN, "b", Digest.of(LAYER), "a"))


def test_damaged_manifest_is_reported(depot: Depot) -> None:
    """Manifests lie in the database; one whose bytes changed is named with its repository."""
    digest = depot.push_image("a", "v1")

    async def damage() -> None:
        async with depot.database.writing() as session:
            await session.run(manifests.update().values(content=b"rotten"))

    depot.run(damage())

    found = findings(depot, "manifests")

    assert [(f.digest, f.repositories, bool(f.problem)) for f in found] == [(str(digest), ("a",), True)]


def test_stray_bytes_are_freed(depot: Depot) -> None:
    """Bytes that nobody recorded, as after a power failure, are freed after the grace period; new ones are left."""
    stray = Digest.of(b"stray")
    depot.run(depot.storage.put(stray, pieces(b"stray")))
    early = findings(depot, "strays")
    depot.clock.forward(GRACE + timedelta(minutes=11))

    late = findings(depot, "strays")
    depot.collect()
    assert depot.is_stored(b"stray")
    depot.clock.forward(GRACE + timedelta(seconds=1))
    depot.collect()

    assert early == []
    assert [finding.digest for finding in late] == [str(stray)]
    assert not depot.is_stored(b"stray")


def test_blobs_are_read_in_parallel_and_reported_in_order(depot: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bounded number at a time; whoever stops listening stops the reads."""
    digests = sorted(str(depot.push_blob("ann/app", b"%d" % number)) for number in range(3 * PARALLEL_READS))
    original = depot.storage.read
    reading = most = 0

    async def read(digest: Digest, *arguments: Any) -> AsyncIterator[bytes]:
        nonlocal reading, most
        reading += 1
        most = max(most, reading)
        try:
            await asyncio.sleep(0.001 if str(digest) > digests[1] else 0.02)  # the first ones take longest
            async for piece in original(digest, *arguments):
                yield piece
        finally:
            reading -= 1

    monkeypatch.setattr(depot.storage, "read", read)

    async def verify(wanted: int) -> list[str]:
        found = []
        findings = depot.registry.verification.blobs()
        async for finding in findings:
            assert not finding.problem
            found.append(finding.digest)
            if len(found) == wanted:
                break
        await findings.aclose()
        return found

    assert depot.run(verify(10**6)) == digests
    assert most == PARALLEL_READS
    assert depot.run(verify(1)) == digests[:1]
    assert reading == 0
