"""What an image or an index consists of is not deleted before it, unless the policy says otherwise."""

from __future__ import annotations

from collections.abc import Coroutine
from http import HTTPStatus
from typing import Any

import pytest
from tests.unit.registry.depot import ANN, Depot, index

from hythe.oci.digest import Digest
from hythe.oci.errors import ErrorCode, WireError
from hythe.registry.policy import Policy


def refusal(depot: Depot, deletion: Coroutine[Any, Any, None]) -> WireError:
    """The error of a deletion."""
    with pytest.raises(WireError) as refused:
        depot.run(deletion)
    assert (refused.value.code, refused.value.status) == (ErrorCode.DENIED, HTTPStatus.METHOD_NOT_ALLOWED)
    assert refused.value.headers["Allow"].startswith("GET, HEAD")
    return refused.value


@pytest.mark.parametrize("tags", [(), ("multi",), ("multi", "latest")])
def test_a_child_is_needed_by_its_index(depot: Depot, tags: tuple[str, ...]) -> None:
    """The error names the index with its tags; once that is deleted, the child can be, too."""
    child = depot.push_image("a", "amd64")
    top = depot.push("a", index(child), *tags)

    error = refusal(depot, depot.registry.manifests.delete(ANN, "a", child))
    depot.run(depot.registry.manifests.delete(ANN, "a", top))
    depot.run(depot.registry.manifests.delete(ANN, "a", child))

    assert error.detail == [{"digest": str(top), "tags": sorted(tags)}]
    assert all(tag in error.message for tag in tags)
    assert error.message.endswith("delete the index first")


@pytest.mark.parametrize("content", [b"layer", b"{}"])
def test_a_blob_is_needed_by_its_manifest(depot: Depot, content: bytes) -> None:
    """Layers and configurations, of tagged and untagged images."""
    digest = depot.push_image("a", "v1")

    error = refusal(depot, depot.registry.blobs.delete(ANN, "a", Digest.of(content)))
    there = depot.has_blob("a", content)
    depot.run(depot.registry.manifests.delete(ANN, "a", digest))
    depot.run(depot.registry.blobs.delete(ANN, "a", Digest.of(content)))

    assert (there, depot.has_blob("a", content)) == (True, False)
    assert error.detail == [{"digest": str(digest), "tags": ["v1"]}]


def test_other_repositories_and_subjects_need_nothing(depot: Depot) -> None:
    """An image of another repository has its own blobs, and a signature outlives what it signs."""
    signed = depot.push_image("a")
    depot.push_image("b", layer=b"of b")
    depot.push("a", index(subject={"mediaType": "a/b", "digest": str(signed), "size": 2}))
    depot.push_blob("a", b"of b")

    depot.run(depot.registry.blobs.delete(ANN, "a", Digest.of(b"of b")))
    depot.run(depot.registry.manifests.delete(ANN, "a", signed))

    assert depot.has_blob("b", b"of b")


def test_many_that_need_it(depot: Depot) -> None:
    """The error stays short, however many indexes and tags there are."""
    child = depot.push_image("a")
    for number in range(6):
        depot.push("a", index(child, annotations={"n": str(number)}), *(f"v{number}.{tag}" for tag in range(6)))

    error = refusal(depot, depot.registry.manifests.delete(ANN, "a", child))

    assert len(error.detail) == 3
    assert len(error.message) < 500
    assert "and others" in error.message


@pytest.mark.parametrize("policy", [Policy(protect_images=False)])
def test_without_protection(depot: Depot) -> None:
    """The setting lets whoever may delete break images."""
    child = depot.push_image("a")
    depot.push("a", index(child), "multi")

    depot.run(depot.registry.blobs.delete(ANN, "a", Digest.of(b"layer")))
    depot.run(depot.registry.manifests.delete(ANN, "a", child))

    assert not depot.has_blob("a", b"layer")
    assert not depot.has_manifest("a", child)
    assert depot.has_manifest("a", "multi")
