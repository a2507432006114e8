"""Distribution specification 1.1, "Content Discovery": tags, referrers, and Docker's catalog."""

from __future__ import annotations

from typing import Any

import pytest
from tests.contracts.distribution import INDEX, MANIFEST, Answer, Client, digest_of, index_manifest

TAGS = ["0.1", "A", "Z", "_x", "a", "v1", "v10", "v2"]
"""In the order of their bytes."""


def _tagged(registry: Client, name: str) -> None:
    manifest = registry.image(name)
    for tag in reversed(TAGS):
        registry.push_manifest(name, tag, manifest)


def test_tags_in_order(registry: Client, name: str) -> None:
    """ "Listing Tags": 200 with the name and the tags in lexical order."""
    _tagged(registry, name)

    answer = registry("GET", f"/v2/{name}/tags/list")

    assert (answer.status, answer.json()) == (200, {"name": name, "tags": TAGS})
    assert answer.headers["Link"] is None


def test_pages_of_tags(registry: Client, name: str) -> None:
    """ "Listing Tags": at most ``n`` at a time; Link leads to the rest, and the last page has none."""
    _tagged(registry, name)

    pages = list(_pages(registry, f"/v2/{name}/tags/list?n=3"))

    assert [page.json()["tags"] for page in pages] == [TAGS[:3], TAGS[3:6], TAGS[6:]]


def test_exact_page_has_no_link(registry: Client, name: str) -> None:
    """ "Listing Tags": no Link when nothing follows."""
    _tagged(registry, name)

    answer = registry("GET", f"/v2/{name}/tags/list?n={len(TAGS)}")

    assert (answer.json()["tags"], answer.headers["Link"]) == (TAGS, None)


def test_last_need_not_exist(registry: Client, name: str) -> None:
    """ "Listing Tags": the list begins behind ``last``, which is not in it and need not be a tag."""
    _tagged(registry, name)

    assert registry("GET", f"/v2/{name}/tags/list?last=v1").json()["tags"] == ["v10", "v2"]
    assert registry("GET", f"/v2/{name}/tags/list?last=b&n=1").json()["tags"] == ["v1"]


def test_no_tags_at_all(registry: Client, name: str) -> None:
    """ "Listing Tags": ``n=0`` is an empty list without Link, and so are the tags of a repository without any."""
    registry.push_manifest(name, digest_of(_index_bytes()), _index_bytes(), INDEX)

    assert registry("GET", f"/v2/{name}/tags/list").json() == {"name": name, "tags": []}
    _tagged(registry, name)
    answer = registry("GET", f"/v2/{name}/tags/list?n=0")
    assert (answer.status, answer.json()["tags"], answer.headers["Link"]) == (200, [], None)


def _index_bytes() -> bytes:
    return b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'


@pytest.mark.parametrize("n", ["-1", "x", "1.5", ""])
def test_n_that_is_no_number(registry: Client, name: str, n: str) -> None:
    """A page size must be a number."""
    registry.push_image(name)

    answer = registry("GET", f"/v2/{name}/tags/list?n={n}")

    assert (answer.status, answer.codes) == (400, ["PAGINATION_NUMBER_INVALID"])


def test_tags_of_an_unknown_repository(registry: Client, name: str) -> None:
    """ "Error Codes", NAME_UNKNOWN."""
    answer = registry("GET", f"/v2/{name}/tags/list")

    assert (answer.status, answer.codes) == (404, ["NAME_UNKNOWN"])


def _refer(registry: Client, name: str, subject: str, **fields: Any) -> str:
    reference = {"mediaType": MANIFEST, "digest": subject, "size": 1}
    manifest = registry.image(name, subject=reference, **fields)
    return registry.push_manifest(name, f"r{len(fields)}-{id(manifest)}", manifest)


def test_referrers(registry: Client, name: str) -> None:
    """ "Listing Referrers": an image index of descriptors with artifactType and the manifest's annotations."""
    subject = registry.push_image(name)
    annotations = {"org.example.key": "value"}
    referrer = _refer(registry, name, subject, artifactType="application/x.sbom", annotations=annotations)
    size = len(registry("GET", f"/v2/{name}/manifests/{referrer}").body)

    answer = registry("GET", f"/v2/{name}/referrers/{subject}")

    assert (answer.status, answer.headers["Content-Type"]) == (200, INDEX)
    assert answer.json() == {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [
            {
                "mediaType": MANIFEST,
                "digest": referrer,
                "size": size,
                "artifactType": "application/x.sbom",
                "annotations": annotations,
            }
        ],
    }


def test_artifact_type_falls_back_to_the_configuration(registry: Client, name: str) -> None:
    """ "Listing Referrers": without artifactType, the configuration's media type stands in."""
    subject = registry.push_image(name)
    _refer(registry, name, subject)

    answer = registry("GET", f"/v2/{name}/referrers/{subject}")

    assert [d["artifactType"] for d in answer.json()["manifests"]] == ["application/vnd.oci.image.config.v1+json"]


def test_index_as_referrer(registry: Client, name: str) -> None:
    """ "Listing Referrers": an index may refer, too; it has no configuration to fall back to."""
    subject = registry.push_image(name)
    index = index_manifest(subject, subject={"mediaType": MANIFEST, "digest": subject, "size": 1})
    digest = registry.push_manifest(name, "index", index, INDEX)

    found = registry("GET", f"/v2/{name}/referrers/{subject}").json()["manifests"]

    assert [(d["digest"], d["mediaType"], d.get("artifactType")) for d in found] == [(digest, INDEX, None)]


def test_filtered_referrers(registry: Client, name: str) -> None:
    """ "Listing Referrers": artifactType filters, and OCI-Filters-Applied says so."""
    subject = registry.push_image(name)
    wanted = _refer(registry, name, subject, artifactType="application/x.sbom")
    _refer(registry, name, subject, artifactType="application/x.signature")

    filtered = registry("GET", f"/v2/{name}/referrers/{subject}?artifactType=application/x.sbom")
    whole = registry("GET", f"/v2/{name}/referrers/{subject}")

    assert [d["digest"] for d in filtered.json()["manifests"]] == [wanted]
    assert filtered.headers["OCI-Filters-Applied"] == "artifactType"
    assert (len(whole.json()["manifests"]), whole.headers["OCI-Filters-Applied"]) == (2, None)


def test_pages_of_referrers(registry: Client, name: str) -> None:
    """ "Listing Referrers": Link leads to the rest, filter and all."""
    subject = registry.push_image(name)
    made = {_refer(registry, name, subject, artifactType="application/x+y") for _ in range(5)}

    pages = list(_pages(registry, f"/v2/{name}/referrers/{subject}?artifactType=application/x%2By&n=2"))

    assert [len(page.json()["manifests"]) for page in pages] == [2, 2, 1]
    assert {d["digest"] for page in pages for d in page.json()["manifests"]} == made


def test_unknown_subject_has_no_referrers(registry: Client, name: str) -> None:
    """ "Listing Referrers": 200 with an empty index, never 404, for a subject that is not there."""
    answer = registry("GET", f"/v2/{name}/referrers/{digest_of(b'nobody')}")

    assert (answer.status, answer.json()["manifests"]) == (200, [])


def test_referrer_may_come_before_its_subject(registry: Client, name: str) -> None:
    """ "Pushing Manifests with Subject": accepted before the subject is there, and listed then."""
    subject = digest_of(b"comes later")
    referrer = _refer(registry, name, subject)

    found = registry("GET", f"/v2/{name}/referrers/{subject}").json()["manifests"]

    assert [d["digest"] for d in found] == [referrer]


def test_malformed_subject(registry: Client, name: str) -> None:
    """ "Listing Referrers": 400 for a digest that is none."""
    answer = registry("GET", f"/v2/{name}/referrers/sha256:baddigest")

    assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])


def test_catalog(registry: Client, name: str) -> None:
    """Docker's catalog lists, in pages, the repositories that hold something."""
    for part in ("a", "b", "c"):
        registry.push_image(f"{name}/{part}")
    registry.start_upload(f"{name}/nothing-yet")

    pages = list(_pages(registry, f"/v2/_catalog?n=2&last={name}"))

    found = [each for page in pages for each in page.json()["repositories"] if each.startswith(f"{name}/")]
    assert found == [f"{name}/a", f"{name}/b", f"{name}/c"]
    assert all(len(page.json()["repositories"]) <= 2 for page in pages)


def _pages(registry: Client, path: str) -> Any:
    while path:
        answer: Answer = registry("GET", path)
        assert answer.status == 200, answer
        yield answer
        link = answer.headers["Link"]
        path = link.partition(";")[0].strip("<> ") if link else ""
