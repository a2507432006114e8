"""Indexes that nest others too deep are refused: clients could not walk them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.unit.registry.depot import ANN, Depot, index

from hythe.oci.digest import Digest
from hythe.oci.errors import ErrorCode, WireError
from hythe.oci.manifest import MAX_INDEX_DEPTH


def nest(depot: Depot, levels: int, *also: Digest, first: Digest | None = None) -> Digest:
    """Push indexes in indexes, each of which lists its child and ``also``; return the outermost."""
    digest = first or depot.push_image("app")
    for level in range(levels):
        digest = depot.push("app", index(digest, *also, annotations={"level": str(level)}))
    return digest


def refused(depot: Depot, children: Sequence[Digest]) -> bool:
    """Whether an index of these is refused as too deep."""
    try:
        depot.push("app", index(*children), "deep")
    except WireError as error:
        return error.code is ErrorCode.MANIFEST_INVALID and f"{MAX_INDEX_DEPTH} levels" in str(error)
    return False


def test_as_deep_as_allowed(depot: Depot) -> None:
    """The deepest index can be pulled, and one level more is refused without leaving anything."""
    deepest = nest(depot, MAX_INDEX_DEPTH)
    assert depot.has_manifest("app", deepest)
    assert refused(depot, [deepest])
    assert not depot.has_manifest("app", "deep")


@pytest.mark.parametrize("levels", [0, 1, MAX_INDEX_DEPTH - 1])
def test_less_deep(depot: Depot, levels: int) -> None:
    """Ordinary indexes are taken."""
    assert not refused(depot, [nest(depot, levels)])


def test_the_deepest_child_counts(depot: Depot) -> None:
    """A deep index is not hidden by images and flat indexes next to it, whatever their order."""
    flat = nest(depot, 1, first=depot.push_image("app", layer=b"other"))
    deep = nest(depot, MAX_INDEX_DEPTH)
    assert refused(depot, [flat, deep])
    assert refused(depot, [deep, flat])
    assert not refused(depot, [flat])


def test_a_child_listed_twice(depot: Depot) -> None:
    """Listing a child twice at each level makes no deeper index, and costs no more."""
    top = nest(depot, MAX_INDEX_DEPTH - 1, depot.push_image("app"))
    assert not refused(depot, [top, top])


def test_a_deep_index_pushed_again(depot: Depot) -> None:
    """A push of an existing index succeeds as before."""
    children = [nest(depot, MAX_INDEX_DEPTH - 1)]
    assert not refused(depot, children)
    assert not refused(depot, children)


def test_deleting_the_outermost(depot: Depot) -> None:
    """Garbage collection frees every level of a deep index."""
    outermost = nest(depot, MAX_INDEX_DEPTH)
    depot.run(depot.registry.manifests.delete(ANN, "app", outermost))
    assert len(depot.collect_after_grace().manifests) == MAX_INDEX_DEPTH
