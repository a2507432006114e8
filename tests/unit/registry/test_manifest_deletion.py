"""A manifest with very many tags or referrers is deleted in steps, completely or not at all."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select
from tests.unit.registry.depot import ANN, Depot, image, subject

from hythe.database.tables.registry import manifests, unmarked_referrers
from hythe.oci.errors import ErrorCode, WireError
from hythe.registry import manifests as service
from hythe.registry.sql.manifests import MAX_REFERRERS

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
    for number in range(MAX_REFERRERS + 5):
        depot.push("a", image(b"layer", subject=subject(digest), annotations={"number": str(number)}))
    kept = depot.push("a", image(b"layer", subject=subject(digest)), "kept")
    depot.run(depot.registry.manifests.delete(ANN, "a", digest))

    async def count(marked: bool) -> int:
        condition = manifests.c.free_after.is_not(None) if marked else manifests.c.free_after.is_(None)
        async with depot.database.reading() as session:
            row = await session.row(select(func.count()).select_from(manifests).where(condition))
            assert row is not None
            return int(row[0])

    assert depot.run(count(True)) == 0
    depot.run(depot.registry.deletions.finish())
    assert depot.run(count(True)) == MAX_REFERRERS + 6
    depot.collect_after_grace()
    depot.collect_after_grace()

    assert depot.run(count(False)) == 1
    assert depot.has_manifest("a", kept)

    async def left() -> bool:
        async with depot.database.reading() as session:
            return bool(await session.rows(select(unmarked_referrers)))

    assert not depot.run(left())
