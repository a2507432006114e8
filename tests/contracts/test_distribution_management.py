"""Distribution specification 1.1, "Content Management", and "Error Codes"."""

from __future__ import annotations

import pytest
from tests.contracts.distribution import INDEX, Client, digest_of, index_manifest


def test_deleted_tag_takes_only_itself(registry: Client, name: str) -> None:
    """ "Deleting Tags": 202; the manifest stays under its digest and its other tags."""
    manifest = registry.image(name)
    digest = registry.push_manifest(name, "one", manifest)
    registry.push_manifest(name, "two", manifest)

    answer = registry("DELETE", f"/v2/{name}/manifests/one")

    assert answer.status == 202
    found = [registry("GET", f"/v2/{name}/manifests/{reference}").status for reference in ("one", "two", digest)]
    assert found == [404, 200, 200]
    assert registry("GET", f"/v2/{name}/tags/list").json()["tags"] == ["two"]


def test_last_tag_leaves_the_manifest(registry: Client, name: str) -> None:
    """ "Deleting Tags": also without any tag the manifest is there at once afterwards."""
    digest = registry.push_image(name, "only")

    registry("DELETE", f"/v2/{name}/manifests/only")

    assert registry("GET", f"/v2/{name}/manifests/{digest}").status == 200


def test_deleted_manifest_is_gone_with_its_tags(registry: Client, name: str) -> None:
    """ "Deleting Manifests": 202, and 404 at once afterwards; no tag points to nothing."""
    manifest = registry.image(name)
    digest = registry.push_manifest(name, "one", manifest)
    registry.push_manifest(name, "two", manifest)

    answer = registry("DELETE", f"/v2/{name}/manifests/{digest}")

    assert answer.status == 202
    assert [registry("GET", f"/v2/{name}/manifests/{r}").status for r in ("one", "two", digest)] == [404] * 3
    assert registry("GET", f"/v2/{name}/tags/list").json()["tags"] == []


def test_deleted_manifest_can_be_pushed_again(registry: Client, name: str) -> None:
    """ "Deleting Manifests": its blobs are still there, so the same push succeeds."""
    manifest = registry.image(name)
    digest = registry.push_manifest(name, "one", manifest)
    registry("DELETE", f"/v2/{name}/manifests/{digest}")

    again = registry.push_manifest(name, "one", manifest)

    assert again == digest
    assert registry("GET", f"/v2/{name}/manifests/one").status == 200


def test_deleted_referrer_is_listed_no_more(registry: Client, name: str) -> None:
    """ "Deleting Manifests": a referrer goes from the list at once."""
    subject = registry.push_image(name)
    reference = {"mediaType": INDEX, "digest": subject, "size": 1}
    referrer = registry.push_manifest(name, "r", index_manifest(subject=reference), INDEX)

    registry("DELETE", f"/v2/{name}/manifests/{referrer}")

    assert registry("GET", f"/v2/{name}/referrers/{subject}").json()["manifests"] == []


def test_deleted_blob_is_gone(registry: Client, name: str) -> None:
    """ "Deleting Blobs": 202, and 404 at once afterwards; other repositories keep it."""
    digest = registry.push_blob(name, b"to be deleted")
    registry("POST", f"/v2/{name}/kept/blobs/uploads/?mount={digest}&from={name}")

    answer = registry("DELETE", f"/v2/{name}/blobs/{digest}")

    assert answer.status == 202
    assert registry("HEAD", f"/v2/{name}/blobs/{digest}").status == 404
    assert registry("GET", f"/v2/{name}/kept/blobs/{digest}").body == b"to be deleted"


def test_child_of_an_index_is_not_deleted_before_it(registry: Client, name: str) -> None:
    """ "Deleting Manifests": 405, with an error that names the index and its tags, and says what to do."""
    child = registry.push_image(name, "amd64")
    index = registry.push_manifest(name, "multi", index_manifest(child), INDEX)

    refused = registry("DELETE", f"/v2/{name}/manifests/{child}")
    untagged = registry("DELETE", f"/v2/{name}/manifests/amd64")
    pulled = registry("GET", f"/v2/{name}/manifests/{child}")
    deleted = [registry("DELETE", f"/v2/{name}/manifests/{digest}").status for digest in (index, child)]

    assert (refused.status, refused.codes, refused.headers["Allow"]) == (405, ["DENIED"], "GET, HEAD, PUT")
    assert refused.json()["errors"][0]["detail"] == [{"digest": index, "tags": ["multi"]}]
    assert f"{index} (tagged multi): delete the index first" in refused.json()["errors"][0]["message"]
    assert (untagged.status, pulled.status, deleted) == (202, 200, [202, 202])


def test_blob_of_an_image_is_not_deleted_before_it(registry: Client, name: str) -> None:
    """ "Deleting Blobs": neither a layer nor a configuration that a manifest needs."""
    manifest = registry.image(name)
    image = registry.push_manifest(name, "v1", manifest)
    blobs = [entry["digest"] for entry in (manifest["config"], *manifest["layers"])]

    refused = [registry("DELETE", f"/v2/{name}/blobs/{blob}") for blob in blobs]
    pulled = [registry("HEAD", f"/v2/{name}/blobs/{blob}").status for blob in blobs]
    registry("DELETE", f"/v2/{name}/manifests/{image}")
    deleted = [registry("DELETE", f"/v2/{name}/blobs/{blob}").status for blob in blobs]

    assert [(answer.status, answer.codes) for answer in refused] == [(405, ["DENIED"])] * 2
    assert all(f"{image} (tagged v1)" in answer.json()["errors"][0]["message"] for answer in refused)
    assert (pulled, deleted) == ([200, 200], [202, 202])


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (f"manifests/{digest_of(b'absent')}", "MANIFEST_UNKNOWN"),
        ("manifests/absent", "MANIFEST_UNKNOWN"),
        (f"blobs/{digest_of(b'absent')}", "BLOB_UNKNOWN"),
        ("blobs/uploads/absent", "BLOB_UPLOAD_UNKNOWN"),
    ],
)
def test_deleting_what_is_not_there(registry: Client, name: str, path: str, code: str) -> None:
    """ "Content Management": 404, with the error code of the kind."""
    registry.push_image(name)

    answer = registry("DELETE", f"/v2/{name}/{path}")

    assert (answer.status, answer.codes) == (404, [code])


@pytest.mark.parametrize(
    "bad", ["UPPER", "a//b", "-a", "a-", "a/", "a..b", "a" * 256, "a%20b", "%00", "a/_b", "%C3%A4", "%ff"]
)
@pytest.mark.parametrize("rest", ["manifests/latest", "tags/list", f"blobs/{digest_of(b'x')}"])
def test_malformed_name(registry: Client, bad: str, rest: str) -> None:
    """ "Error Codes", NAME_INVALID."""
    answer = registry("GET", f"/v2/{bad}/{rest}")

    assert (answer.status, answer.codes) == (400, ["NAME_INVALID"])


@pytest.mark.parametrize("path", ["/v2/x", "/v2/a/b/c", "/v2/a/blobs", "/v2/a/tags/other", "/v2/_other", "/v2//"])
def test_unknown_endpoint(registry: Client, path: str) -> None:
    """What is no endpoint answers 404 in the protocol's own error body."""
    answer = registry("GET", path)

    assert answer.status == 404
    assert answer.json()["errors"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "manifests/latest"), ("PUT", "tags/list"), ("PATCH", "blobs/uploads/"), ("DELETE", "tags/list")],
)
def test_method_that_an_endpoint_lacks(registry: Client, name: str, method: str, path: str) -> None:
    """ "Error Codes", UNSUPPORTED: 405, with what is allowed."""
    answer = registry(method, f"/v2/{name}/{path}")

    assert (answer.status, answer.codes) == (405, ["UNSUPPORTED"])
    assert answer.headers["Allow"]


@pytest.mark.parametrize("bad", ["-dash", ".dot", "a" * 129, "sp%20ace", "%C3%BC"])
def test_malformed_tag(registry: Client, name: str, bad: str) -> None:
    """A tag outside the grammar cannot be pushed."""
    answer = registry("PUT", f"/v2/{name}/manifests/{bad}", b"{}")

    assert (answer.status, answer.codes) == (400, ["TAG_INVALID"])


@pytest.mark.parametrize("name_with_keywords", ["a/manifests", "blobs/uploads", "a/tags/list", "referrers/b", "v2/x"])
def test_names_made_of_keywords(registry: Client, name: str, name_with_keywords: str) -> None:
    """A repository may be called like an endpoint: the last keyword of a path counts."""
    whole = f"{name}/{name_with_keywords}"
    digest = registry.push_image(whole)

    assert registry("GET", f"/v2/{whole}/manifests/latest").headers["Docker-Content-Digest"] == digest
    assert registry("GET", f"/v2/{whole}/tags/list").json()["tags"] == ["latest"]
