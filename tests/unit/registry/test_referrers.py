"""Lists of referrers have a bound, however large the annotations are."""

from __future__ import annotations

import pytest
from tests.unit.registry.depot import ANN, Depot, image, subject

from hythe.oci.digest import Digest
from hythe.registry.referrers import MAX_ANNOTATIONS_SIZE, MAX_MANIFESTS_SIZE, ReferrersPage


def push_referrers(depot: Depot, count: int, annotations: dict[str, str]) -> Digest:
    """Push an image and referrers with these annotations; return the image's digest."""
    digest = depot.push_image("app", "v1")
    for number in range(count):
        fields = {"subject": subject(digest), "annotations": {**annotations, "number": str(number)}}
        depot.push("app", image(b"layer", artifactType="text/plain", **fields))
    return digest


def page(depot: Depot, digest: Digest, after: str = "", artifact_type: str | None = None) -> ReferrersPage:
    found: ReferrersPage = depot.run(depot.registry.referrers.of(ANN, "app", digest, artifact_type, after))
    return found


@pytest.mark.parametrize(
    ("count", "annotations", "fitting"),
    [
        (4, {"note": "x" * 1_500_000}, 1),
        (3, {"note": "x" * (MAX_ANNOTATIONS_SIZE + 1)}, 1),
        (30, {"note": "x" * 300_000}, 6),
        (20, {str(number): "" for number in range(20_000)}, 16),
    ],
    ids=["two that do not fit together", "each over the limit", "many large", "many names"],
)
def test_large_annotations(depot: Depot, count: int, annotations: dict[str, str], fitting: int) -> None:
    """A page has what fits and says that more follows; all pages together have everything once."""
    digest = push_referrers(depot, count, annotations)
    first = page(depot, digest)
    assert 1 <= len(first.descriptors) <= fitting
    assert sum(each.size for each in first.descriptors[1:]) <= MAX_MANIFESTS_SIZE
    found = list(first.descriptors)
    while (more := page(depot, digest, found[-1].digest)).descriptors:
        found += more.descriptors
    assert len({each.digest for each in found}) == len(found) == count
    assert all(each.annotations.keys() >= annotations.keys() for each in found)


@pytest.mark.parametrize("artifact_type", [None, "text/plain"])
def test_small_ones_come_at_once(depot: Depot, artifact_type: str | None) -> None:
    """Ordinary referrers fit into one page, with and without a filter."""
    found = page(depot, push_referrers(depot, 60, {"note": "x" * 100}), artifact_type=artifact_type)
    assert len(found.descriptors) == 60
    assert not found.more


def test_a_filter_without_matches(depot: Depot) -> None:
    """No referrer of this type."""
    assert not page(depot, push_referrers(depot, 2, {}), artifact_type="text/html").descriptors
