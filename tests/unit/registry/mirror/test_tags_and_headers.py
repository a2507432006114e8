"""HEAD requests, moved and deleted tags, and lists of tags of a mirror."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.unit.registry.mirror.upstream_stand_in import Fault, MirrorDepot, refusal

from hythe.oci.digest import Digest
from hythe.oci.errors import ErrorCode
from hythe.oci.manifest import OCI_MANIFEST

PAST_FRESHNESS = timedelta(seconds=31)
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
DOWN = Fault("", 500)


def test_a_head_request_costs_no_pull(mirror: MirrorDepot) -> None:
    """It goes upstream as HEAD, once in 30 seconds; the GET of its digest afterwards also stores the tag."""
    digest = mirror.upstream.put_image("app", "1", b"layer")

    assert mirror.head("app", "1") == mirror.head("app", "1") == (str(digest), OCI_MANIFEST)
    assert mirror.asked() == ["HEAD /v2/app/manifests/1"]

    assert mirror.pull("app", digest) == digest
    assert mirror.asked() == [f"GET /v2/app/manifests/{digest}"]
    mirror.clock.forward(PAST_FRESHNESS)
    mirror.upstream.faults = [DOWN]
    assert mirror.pull("app", "1") == digest


def test_a_head_request_of_a_digest(mirror: MirrorDepot) -> None:
    """Stored or not, and missing."""
    digest = mirror.upstream.put_image("app", "1", b"layer")
    absent = Digest.of(b"absent")

    assert mirror.head("app", digest) == (str(digest), OCI_MANIFEST)
    assert mirror.failure(mirror.head, "app", absent).code is ErrorCode.MANIFEST_UNKNOWN
    assert {request.partition(" ")[0] for request in mirror.asked()} == {"HEAD"}
    mirror.pull("app", digest)
    mirror.asked()
    assert mirror.head("app", digest) == (str(digest), OCI_MANIFEST)
    assert mirror.asked() == []


@SQLITE
@pytest.mark.parametrize(
    "fault",
    [
        Fault("HEAD", 405),
        Fault("HEAD", 501),
        Fault("HEAD", 200, {"Content-Type": "application/json"}),
        Fault("HEAD", 200, {"Content-Type": OCI_MANIFEST}),
    ],
)
def test_an_upstream_whose_head_says_too_little_is_asked_by_get(mirror: MirrorDepot, fault: Fault) -> None:
    """Without HEAD, or without the headers that describe a manifest."""
    digest = mirror.upstream.put_image("app", "1", b"layer")
    mirror.upstream.faults = [fault]

    assert mirror.head("app", "1") == (str(digest), OCI_MANIFEST)


def test_a_moved_tag_is_noticed_after_the_freshness(mirror: MirrorDepot) -> None:
    """The old digest is served for 30 seconds, then the new one, by HEAD and GET; the old stays by its digest."""
    old = mirror.upstream.put_image("app", "1", b"old")
    assert mirror.pull("app", "1") == old
    new = mirror.upstream.put_image("app", "1", b"new")

    assert mirror.pull("app", "1") == old
    mirror.clock.forward(PAST_FRESHNESS)
    assert mirror.head("app", "1") == (str(new), OCI_MANIFEST)
    assert mirror.pull("app", "1") == new
    assert mirror.pull("app", old) == old
    mirror.clock.forward(PAST_FRESHNESS)
    mirror.upstream.faults = [DOWN]
    assert mirror.pull("app", "1") == new


def test_a_tag_that_moved_back_is_not_fetched_again(mirror: MirrorDepot) -> None:
    """The manifest with the upstream's digest is stored: the tag moves, and nothing is transferred."""
    old = mirror.upstream.put_image("app", "1", b"old")
    mirror.pull("app", "1")
    mirror.upstream.put_image("app", "1", b"new")
    mirror.clock.forward(PAST_FRESHNESS)
    mirror.pull("app", "1")
    mirror.upstream.put_image("app", "1", b"old")
    mirror.clock.forward(PAST_FRESHNESS)
    mirror.asked()

    assert mirror.pull("app", "1") == old
    assert mirror.asked() == ["HEAD /v2/app/manifests/1"]


def test_a_tag_that_is_gone_upstream_is_gone_here(mirror: MirrorDepot) -> None:
    """404 from then on, even while the upstream does not respond; its digest can still be pulled."""
    digest = mirror.upstream.put_image("app", "1", b"layer")
    mirror.pull("app", "1")
    del mirror.upstream.manifests["app:1"]
    mirror.clock.forward(PAST_FRESHNESS)

    assert mirror.failure(mirror.pull, "app", "1").code is ErrorCode.MANIFEST_UNKNOWN
    mirror.upstream.faults = [DOWN]
    assert int(mirror.failure(mirror.pull, "app", "1").status) == 503
    assert mirror.pull("app", digest) == digest
    assert mirror.tags("app") == ([], False)


@SQLITE
def test_a_web_page_with_404_deletes_no_tag(mirror: MirrorDepot) -> None:
    """A proxy that knows no such address is not the registry."""
    digest = mirror.upstream.put_image("app", "1", b"layer")
    mirror.pull("app", "1")
    mirror.clock.forward(PAST_FRESHNESS)
    mirror.upstream.faults = [Fault("", 404, {"Content-Type": "text/html"}, b"<h1>Not Found</h1>")]

    assert mirror.pull("app", "1") == digest


def test_the_list_of_tags_is_the_upstreams(mirror: MirrorDepot) -> None:
    """All its pages, whatever its order and its links; ``n`` and ``last`` as for every repository."""
    names = sorted([f"v{number}" for number in range(25)] + ["Latest", "_a", "z.z"])
    mirror.upstream.tags["app"] = [*names, "not a tag", "x" * 200]
    mirror.upstream.page_size = 10

    assert mirror.tags("app") == (names, False)
    assert mirror.tags("app", limit=10) == (names[:10], True)
    assert mirror.tags("app", names[9], 10) == (names[10:20], True)
    assert mirror.tags("app", names[19], 8) == (names[20:], False)
    assert mirror.tags("app", "v9x", None) == (["z.z"], False)
    assert mirror.tags("app", limit=0) == ([], False)
    assert len(mirror.asked()) == 3
    mirror.upstream.tags["app"] = ["new"]
    mirror.clock.forward(PAST_FRESHNESS)
    assert mirror.tags("app") == (["new"], False)


def test_stored_tags_are_listed_while_the_upstream_fails(mirror: MirrorDepot) -> None:
    """Also if it fails on a later page; a repository that it does not have stays unknown."""
    mirror.upstream.put_image("app", "1", b"layer")
    mirror.pull("app", "1")
    mirror.upstream.tags["app"] = ["1", "2", "3"]
    mirror.upstream.page_size = 1
    mirror.upstream.faults = [refusal(429, "TOOMANYREQUESTS", "no", "position=1")]

    assert mirror.tags("app") == (["1"], False)
    mirror.upstream.faults = [refusal(404, "NAME_UNKNOWN", "gone")]
    mirror.clock.forward(timedelta(hours=1))
    assert mirror.failure(mirror.tags, "app").code is ErrorCode.NAME_UNKNOWN


@SQLITE
@pytest.mark.parametrize("body", [b'{"tags": null}', b'{"name": "app", "tags": []}'])
def test_an_empty_list_has_many_forms(mirror: MirrorDepot, body: bytes) -> None:
    """Go writes an empty list as null."""
    mirror.upstream.faults = [Fault("tags/list", 200, {"Content-Type": "application/json"}, body)]

    assert mirror.tags("app") == ([], False)


@SQLITE
@pytest.mark.parametrize(
    "link",
    ['<http://evil.example/v2/app/tags/list?position=1>; rel="next"', "</v2/app/tags/list?n=1000>; rel=next", "<"],
)
def test_a_link_leads_neither_elsewhere_nor_in_a_circle(mirror: MirrorDepot, link: str) -> None:
    """Whatever host it names, the next page is the upstream's; the same page is not requested twice."""
    mirror.upstream.faults = [
        Fault("list.n=1000", 200, {"Content-Type": "application/json", "Link": link}, b'{"tags": ["a"]}'),
        Fault("position=1", 200, {"Content-Type": "application/json"}, b'{"tags": ["b"]}'),
    ]

    assert mirror.tags("app") == ((["a", "b"] if "evil" in link else ["a"]), False)


@SQLITE
def test_endless_lists_of_tags_are_bounded(mirror: MirrorDepot, monkeypatch: pytest.MonkeyPatch) -> None:
    """So is the memory for all lists together."""
    monkeypatch.setattr("hythe.registry.mirror.tag_lists.MAX_TAGS", 50)
    mirror.upstream.tags["app"] = [f"{number:03}" for number in range(200)]
    mirror.upstream.page_size = 30

    assert len(mirror.tags("app")[0]) == 50
    assert len(mirror.asked()) == 2
    mirror.upstream.tags["other"] = ["1"]
    assert mirror.tags("other") == (["1"], False)
    mirror.tags("app")
    assert len(mirror.asked()) == 3
