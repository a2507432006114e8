"""A manifest with very many tags or referrers is deleted in steps, completely or not at all."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select
from tests.unit.registry.depot import ANN, Depot, image, index, subject

from hythe.database.tables.registry import manifests, unmarked_dependents
from hythe.oci.errors import ErrorCode, WireError
from hythe.registry import manifests as service
from hythe.registry.sql.manifests import MAX_DEPENDENTS

TAGS = tuple(f"v{number}" for number in range(7))


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tags are many."""
    monkeypatch.setattr(service, "TAGS_AT_ONCE", 2)


@pytest.mark.usefixtures("few_at_once")
def test_many_tags(depot: Depot) -> None:
    """All its tags are deleted, and none of another manifest; the history has each deletion."""
    depot.push_image("a", "other", layer=b"other")
    digest = depot.push_image("a", *TAGS)
    depot.run(depot.registry.manifests.delete(ANN, "a", digest))

    assert depot.tags("a") == ("other",)
    assert not depot.has_manifest("a", digest)
    for tag in TAGS:
        history = depot.run(depot.registry.tags.history(ANN, "a", tag))
        assert [(move.digest, move.previous) for move in history] == [(None, str(digest)), (str(digest), None)]


@pytest.mark.usefixtures("few_at_once")
@pytest.mark.parametrize("immutable", [TAGS[0], TAGS[-1]])
def test_an_immutable_tag_keeps_all(depot: Depot, immutable: str) -> None:
    """If any of its tags is immutable, wherever in the list, nothing is deleted."""
    digest = depot.push_image("a", *TAGS)
    depot.run(depot.registry.tags.set_immutable_patterns(ANN, "a", [immutable]))

    with pytest.raises(WireError) as refused:
        depot.run(depot.registry.manifests.delete(ANN, "a", digest))

    assert refused.value.code is ErrorCode.DENIED
    assert depot.tags("a") == TAGS


def test_many_referrers(depot: Depot) -> None:
    """The referrers of a deleted manifest are marked later if they are many, and then freed as others are."""
    digest = depot.push_image("a", "v0", layer=b"layer")
    for number in range(MAX_DEPENDENTS + 5):
        depot.push("a", image(b"layer", subject=subject(digest), annotations={"number": str(number)}))
    kept = depot.push("a", image(b"layer", subject=subject(digest)), "kept")
    depot.run(depot.registry.manifests.delete(ANN, "a", digest))

    assert _count(depot, marked=True) == 0
    depot.run(depot.registry.deletions.finish())
    assert _count(depot, marked=True) == MAX_DEPENDENTS + 6
    depot.collect_after_grace()
    depot.collect_after_grace()

    assert _count(depot, marked=False) == 1
    assert depot.has_manifest("a", kept)
    assert not _anything_unmarked(depot)


@pytest.mark.parametrize("by_tag", [False, True])
def test_many_children(depot: Depot, by_tag: bool) -> None:
    """So are the manifests of a large index, and what these alone need, whether it is deleted or untagged."""
    depot.push_image("a", "kept", layer=b"layer")
    depot.push_blob("a", b"other")
    children = [
        depot.push("a", image(b"other", annotations={"number": str(number)})) for number in range(MAX_DEPENDENTS + 5)
    ]
    top = depot.push("a", index(*children), "top")
    if by_tag:
        depot.run(depot.registry.tags.delete(ANN, "a", "top"))
    else:
        depot.run(depot.registry.manifests.delete(ANN, "a", top))

    assert _anything_unmarked(depot)
    depot.run(depot.registry.deletions.finish())
    assert not _anything_unmarked(depot)
    assert _count(depot, marked=False) == 1
    for _ in range(3):
        depot.collect_after_grace()

    assert depot.tags("a") == ("kept",)
    assert (_count(depot, marked=False), _count(depot, marked=True)) == (1, 0)
    assert depot.is_stored(b"layer")
    assert not depot.is_stored(b"other")


def test_many_layers(depot: Depot) -> None:
    """So are the blobs of an image with very many layers."""
    layers = [b"layer %d" % number for number in range(MAX_DEPENDENTS + 5)]
    for layer in layers:
        depot.push_blob("a", layer)
    depot.push_image("a", "kept", layer=layers[0])
    digest = depot.push("a", image(*layers), "top")
    depot.run(depot.registry.manifests.delete(ANN, "a", digest))
    depot.run(depot.registry.deletions.finish())
    depot.collect_after_grace()

    assert [layer for layer in layers if depot.is_stored(layer)] == layers[:1]
    assert not _anything_unmarked(depot)


def _count(depot: Depot, *, marked: bool) -> int:
    condition = manifests.c.free_after.is_not(None) if marked else manifests.c.free_after.is_(None)

    async def count() -> int:
        async with depot.database.reading() as session:
            row = await session.row(select(func.count()).select_from(manifests).where(condition))
            assert row is not None
            return int(row[0])

    found: int = depot.run(count())
    return found


def _anything_unmarked(depot: Depot) -> bool:
    async def find() -> bool:
        async with depot.database.reading() as session:
            return bool(await session.rows(select(unmarked_dependents)))

    found: bool = depot.run(find())
    return found
