"""Tags: their history, going back, and those that may not move."""

from __future__ import annotations

import pytest
from tests.unit.registry.depot import ANN, Depot

from hythe.oci.digest import Digest
from hythe.oci.errors import ErrorCode, WireError
from hythe.registry.access import Actor

BEN = Actor("ben")


def test_every_move_is_kept(depot: Depot) -> None:
    """When, by whom, from where and to where; newest first."""
    first = depot.push_image("a", "v1", layer=b"one")
    second = depot.push_image("a", "v2", layer=b"two")
    depot.run(depot.registry.tags.restore(BEN, "a", "v1", first))
    manifest = depot.run(depot.registry.manifests.get(ANN, "a", second))
    put = depot.registry.manifests.put
    depot.run(put(BEN, "a", second, ("v1",), manifest.content, manifest.media_type))
    depot.run(depot.registry.tags.delete(ANN, "a", "v1"))

    history = depot.run(depot.registry.tags.history(ANN, "a", "v1"))

    assert [(move.digest, move.previous, move.by) for move in history] == [
        (None, str(second), "ann"),
        (str(second), str(first), "ben"),
        (str(first), None, "ann"),
    ]
    assert all(move.at == depot.clock.now for move in history)


def test_history_goes_on_before_a_move(depot: Depot) -> None:
    """A long history is read in pages."""
    for number in range(5):
        depot.push_image("a", "v1", layer=b"%d" % number)
    whole = depot.run(depot.registry.tags.history(ANN, "a", "v1"))

    page = depot.run(depot.registry.tags.history(ANN, "a", "v1", before=whole[1].number, limit=2))

    assert page == whole[2:4]


def test_same_target_is_no_move(depot: Depot) -> None:
    """Pushing what a tag points at already writes nothing into its history."""
    depot.push_image("a", "v1")
    depot.push_image("a", "v1")

    assert len(depot.run(depot.registry.tags.history(ANN, "a", "v1"))) == 1


def test_restore_goes_back(depot: Depot) -> None:
    """A tag can point again where it once did; also after it was deleted."""
    first = depot.push_image("a", "v1", layer=b"one")
    depot.push_image("a", "v1", layer=b"two")
    depot.run(depot.registry.tags.delete(ANN, "a", "v1"))

    depot.run(depot.registry.tags.restore(ANN, "a", "v1", first))
    depot.collect_after_grace()

    assert depot.run(depot.registry.manifests.get(ANN, "a", "v1")).digest == first
    assert depot.has_blob("a", b"one")


def test_restore_of_a_deleted_manifest_is_refused(depot: Depot) -> None:
    """What is gone cannot come back; nor can what the tag never pointed at."""
    gone = depot.push_image("a", "v1", layer=b"one")
    other = depot.push_image("a", "v2", layer=b"two")
    depot.run(depot.registry.manifests.delete(ANN, "a", gone))

    for digest in (gone, other, Digest.of(b"never")):
        with pytest.raises(WireError) as refused:
            depot.run(depot.registry.tags.restore(ANN, "a", "v1", digest))
        assert refused.value.code is ErrorCode.MANIFEST_UNKNOWN
    assert depot.tags("a") == ("v2",)


def test_fixed_tag_is_set_once(depot: Depot) -> None:
    """A tag of a fixed pattern may be new, and pushed again the same; it cannot be moved or taken away."""
    depot.push_image("a", "other")
    depot.run(depot.registry.tags.set_immutable_patterns(ANN, "a", ["v*"]))
    digest = depot.push_image("a", "v1", layer=b"one")
    depot.push_image("a", "v1", layer=b"one")

    for change in (
        lambda: depot.push_image("a", "v1", layer=b"two"),
        lambda: depot.run(depot.registry.tags.delete(ANN, "a", "v1")),
        lambda: depot.run(depot.registry.manifests.delete(ANN, "a", digest)),
    ):
        with pytest.raises(WireError) as refused:
            change()
        assert refused.value.code is ErrorCode.DENIED
    depot.push_image("a", "other", layer=b"two")
    assert depot.run(depot.registry.manifests.get(ANN, "a", "v1")).digest == digest
    assert depot.run(depot.registry.tags.immutable_patterns(ANN, "a")) == ("v*",)


def test_refused_move_leaves_no_manifest(depot: Depot) -> None:
    """A push whose tag may not move happens not at all."""
    depot.push_image("a", "v1", layer=b"one")
    depot.run(depot.registry.tags.set_immutable_patterns(ANN, "a", ["v1"]))
    depot.push_blob("a", b"two")

    with pytest.raises(WireError):
        depot.push_image("a", "v2", "v1", layer=b"two")

    assert depot.tags("a") == ("v1",)


def test_pages_cost_no_more_at_the_end(depot: Depot) -> None:
    """The list is read by an index range, so the last page is found like the first."""
    digest = depot.push_image("a", *(f"t{number:03}" for number in range(90)))

    page = depot.run(depot.registry.tags.names(ANN, "a", after="t087", limit=10))

    assert (page.names, page.more) == (("t088", "t089"), False)
    assert depot.has_manifest("a", digest)
