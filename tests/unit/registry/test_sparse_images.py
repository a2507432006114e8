"""Images and indexes that are pushed before their content, where the policy allows that."""

from __future__ import annotations

import json

import pytest
from tests.unit.registry.depot import ANN, GRACE, Depot, image, index

from hythe.oci.digest import Digest
from hythe.oci.errors import ErrorCode, WireError
from hythe.oci.manifest import OCI_INDEX
from hythe.registry.policy import Policy

SPARSE = pytest.mark.parametrize("policy", [Policy(grace=GRACE, upload_lifetime=2 * GRACE, sparse_images=True)])


def nested(*children: Digest, level: int) -> dict[str, object]:
    """An index of indexes."""
    whole = index(*children, annotations={"level": str(level)})
    return whole | {"manifests": [{**each, "mediaType": OCI_INDEX} for each in whole["manifests"]]}


def digest_of(manifest: dict[str, object]) -> Digest:
    """The digest under which ``Depot.push`` pushes it."""
    return Digest.of(json.dumps(manifest).encode())


@pytest.mark.parametrize("absent", ["config", "layer", "child"])
def test_refused_by_default(depot: Depot, absent: str) -> None:
    """Whatever is missing is named."""
    depot.push_blob("a", b"layer" if absent == "config" else b"{}")
    manifest = index(Digest.of(b"child")) if absent == "child" else image(b"layer")

    with pytest.raises(WireError) as refused:
        depot.push("a", manifest, "v1")

    assert refused.value.code is ErrorCode.MANIFEST_BLOB_UNKNOWN
    assert refused.value.detail == [{"digest": str(Digest.of({"config": b"{}"}.get(absent, absent.encode())))}]


@SPARSE
def test_children_and_layers_that_come_later_stay(depot: Depot) -> None:
    """Garbage collection knows that what was pushed before them needs them."""
    top = depot.push("a", index(digest_of(image(b"late"))), "multi")
    child = depot.push("a", image(b"late"))
    depot.push_blob("a", b"late")
    depot.push_blob("a", b"{}")

    collected = [depot.collect_after_grace(), depot.collect_after_grace()]

    assert all(each.manifests == () and each.blobs == () for each in collected)
    assert depot.has_manifest("a", top)
    assert depot.has_manifest("a", child)
    assert depot.has_blob("a", b"late")


@SPARSE
def test_what_is_there_goes_with_the_index(depot: Depot) -> None:
    """A deleted sparse index frees the children that it has."""
    child = depot.push_image("a", layer=b"here")
    depot.push("a", index(child, Digest.of(b"absent")), "multi")
    depot.run(depot.registry.tags.delete(ANN, "a", "multi"))

    collected = depot.collect_after_grace()

    assert str(child) in {each.digest for each in collected.manifests}
    assert not depot.is_stored(b"here")


@SPARSE
def test_a_late_child_is_protected(depot: Depot) -> None:
    """Also what was pushed after its index belongs to it."""
    depot.push("a", index(digest_of(image(b"layer"))), "multi")
    child = depot.push_image("a")

    for deletion in (
        depot.registry.manifests.delete(ANN, "a", child),
        depot.registry.blobs.delete(ANN, "a", Digest.of(b"layer")),
    ):
        with pytest.raises(WireError) as refused:
            depot.run(deletion)
        assert refused.value.code is ErrorCode.DENIED


@SPARSE
def test_a_blob_in_an_index_that_comes_later_stays(depot: Depot) -> None:
    """An exported build cache lists blobs."""
    depot.push("a", index(Digest.of(b"cache")), "cache")
    depot.push_blob("a", b"cache")

    depot.collect_after_grace()

    assert depot.has_blob("a", b"cache")


@SPARSE
def test_indexes_pushed_from_the_outside_in_nest_no_deeper(depot: Depot) -> None:
    """However they are ordered, no walk meets more levels than are allowed."""
    levels = [index(Digest.of(b"absent"))]
    for level in range(3):
        levels.append(nested(digest_of(levels[-1]), level=level))

    depot.push("a", levels[-1])
    with pytest.raises(WireError) as refused:
        depot.push("a", levels[-2])

    assert refused.value.code is ErrorCode.MANIFEST_INVALID
    assert "push it after this one" in str(refused.value)


@SPARSE
@pytest.mark.parametrize("known", [True, False])
def test_one_level_may_come_later(depot: Depot, known: bool) -> None:
    """An index of images that is listed as an index; one that is listed as an image is refused."""
    inner = index(digest_of(image(b"layer")))
    outer = nested(digest_of(inner), level=1) if known else index(digest_of(inner))
    depot.push("a", outer, "outer")

    if known:
        depot.push("a", inner)
        depot.push("a", inner)  # again
        return
    with pytest.raises(WireError) as refused:
        depot.push("a", inner)
    assert refused.value.code is ErrorCode.MANIFEST_INVALID
