"""Distribution specification 1.1, "Push": blobs in all ways, mounts, manifests and the order of things."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.contracts.distribution import (
    CONFIG,
    INDEX,
    LAYER,
    MANIFEST,
    Client,
    descriptor,
    digest_of,
    image_manifest,
    index_manifest,
    with_digest,
)

CONTENT = b"some bytes of a layer"


def test_post_then_put(registry: Client, name: str) -> None:
    """ "POST then PUT": 202 with a Location, then 201 with one where the blob can be pulled."""
    started = registry("POST", f"/v2/{name}/blobs/uploads/")
    finished = registry("PUT", with_digest(started.location, digest_of(CONTENT)), CONTENT)

    assert (started.status, finished.status) == (202, 201)
    assert finished.headers["Docker-Content-Digest"] == digest_of(CONTENT)
    assert registry("GET", finished.location).body == CONTENT


def test_single_post(registry: Client, name: str) -> None:
    """ "Single POST": 201 with a Location where the blob can be pulled."""
    answer = registry("POST", f"/v2/{name}/blobs/uploads/?digest={digest_of(CONTENT)}", CONTENT)

    assert answer.status == 201
    assert registry("GET", answer.location).body == CONTENT


def test_stream_without_length(registry: Client, name: str) -> None:
    """A body in HTTP's own chunks, as docker's PATCH sends it, counts like any other."""
    location = registry("PATCH", registry.start_upload(name), iter([CONTENT, CONTENT])).location
    answer = registry("PUT", with_digest(location, digest_of(CONTENT * 2)))

    assert answer.status == 201
    assert registry("GET", answer.location).body == CONTENT * 2


@pytest.mark.parametrize("way", ["put", "post", "patch"])
def test_wrong_digest_stores_nothing(registry: Client, name: str, way: str) -> None:
    """ "Error Codes", DIGEST_INVALID: the bytes have another digest than the client says."""
    wrong = digest_of(b"something else, for " + name.encode())
    if way == "post":
        answer = registry("POST", f"/v2/{name}/blobs/uploads/?digest={wrong}", CONTENT)
    elif way == "put":
        answer = registry("PUT", with_digest(registry.start_upload(name), wrong), CONTENT)
    else:
        location = registry("PATCH", registry.start_upload(name), CONTENT).location
        answer = registry("PUT", with_digest(location, wrong))

    assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])
    assert registry("HEAD", f"/v2/{name}/blobs/{wrong}").status == 404


@pytest.mark.parametrize(
    "digest", ["sha256:baddigest", "sha256", "md5:d41d8cd98f00b204e9800998ecf8427e", "", "sha256:" + "G" * 64]
)
def test_malformed_digest_is_refused(registry: Client, name: str, digest: str) -> None:
    """ "Error Codes", DIGEST_INVALID: a digest that is none, or of an algorithm that nobody registered."""
    pushed = registry("PUT", with_digest(registry.start_upload(name), digest), CONTENT)
    pulled = registry("GET", f"/v2/{name}/blobs/{digest or 'x'}")

    assert (pushed.status, pushed.codes) == (400, ["DIGEST_INVALID"])
    assert pulled.status in (400, 404)


def test_put_without_digest_is_refused(registry: Client, name: str) -> None:
    """ "POST then PUT": the digest parameter is required."""
    answer = registry("PUT", registry.start_upload(name), CONTENT)

    assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])


@pytest.mark.parametrize("way", ["put", "post", "patch"])
def test_sha512_needs_no_hint(registry: Client, name: str, way: str) -> None:
    """The algorithm may be told as late as by the last request; the digest comes back as it was asked for."""
    digest = digest_of(CONTENT, "sha512")
    if way == "post":
        answer = registry("POST", f"/v2/{name}/blobs/uploads/?digest={digest}", CONTENT)
    elif way == "put":
        answer = registry("PUT", with_digest(registry.start_upload(name), digest), CONTENT)
    else:
        location = registry("PATCH", registry.start_upload(name), CONTENT).location
        answer = registry("PUT", with_digest(location, digest))

    assert (answer.status, answer.headers["Docker-Content-Digest"]) == (201, digest)
    assert registry("GET", f"/v2/{name}/blobs/{digest}").body == CONTENT


@pytest.mark.parametrize("with_from", [True, False])
def test_mount(registry: Client, name: str, with_from: bool) -> None:
    """ "Mounting a blob from another repository": 201, and the blob can be pulled from here; ``from`` is optional."""
    content = CONTENT + name.encode()
    digest = registry.push_blob(f"{name}/source", content)
    origin = f"&from={name}/source" if with_from else ""

    answer = registry("POST", f"/v2/{name}/blobs/uploads/?mount={digest}{origin}")

    assert answer.status == 201
    assert registry("GET", answer.location).body == content
    assert answer.location.startswith(f"/v2/{name}/")


@pytest.mark.parametrize("origin", ["", "&from=test/no/such/repository", "&from=NOT_A_NAME"])
def test_mount_of_what_is_not_there_opens_an_upload(registry: Client, name: str, origin: str) -> None:
    """ "Mounting a blob from another repository": 202 and an upload location when it cannot be mounted."""
    content = b"not there: " + name.encode()

    answer = registry("POST", f"/v2/{name}/blobs/uploads/?mount={digest_of(content)}{origin}")

    assert answer.status == 202
    assert registry("PUT", with_digest(answer.location, digest_of(content)), content).status == 201


@pytest.mark.parametrize("by", ["tag", "digest"])
def test_manifest_is_created(registry: Client, name: str, by: str) -> None:
    """ "Pushing Manifests": 201, with a Location where the manifest can be pulled."""
    content = json.dumps(registry.image(name)).encode()
    reference = "v1" if by == "tag" else digest_of(content)

    answer = registry("PUT", f"/v2/{name}/manifests/{reference}", content, Content_Type=MANIFEST)

    assert answer.status == 201
    assert answer.headers["Docker-Content-Digest"] == digest_of(content)
    assert registry("GET", answer.location).body == content


def test_manifest_with_missing_blobs_is_refused_naming_them(registry: Client, name: str) -> None:
    """ "Error Codes", MANIFEST_BLOB_UNKNOWN: push order is checked, and all that is missing is named."""
    manifest = image_manifest(b"no such config", b"no such layer", b"nor this")
    missing = sorted([manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])])

    answer = registry("PUT", f"/v2/{name}/manifests/v1", json.dumps(manifest).encode(), Content_Type=MANIFEST)

    assert (answer.status, answer.codes) == (404, ["MANIFEST_BLOB_UNKNOWN"])
    assert [entry["digest"] for entry in answer.json()["errors"][0]["detail"]] == missing
    assert registry("GET", f"/v2/{name}/manifests/v1").status == 404


def test_index_with_missing_children_is_refused(registry: Client, name: str) -> None:
    """ "Error Codes", MANIFEST_BLOB_UNKNOWN holds for the manifests of an index, too."""
    absent = digest_of(b"absent")
    content = json.dumps(index_manifest(registry.push_image(name), absent)).encode()

    answer = registry("PUT", f"/v2/{name}/manifests/multi", content, Content_Type=INDEX)

    assert (answer.status, answer.codes) == (404, ["MANIFEST_BLOB_UNKNOWN"])
    assert answer.json()["errors"][0]["detail"] == [{"digest": absent}]


def test_blob_of_another_repository_is_missing(registry: Client, name: str) -> None:
    """Knowing a digest does not make another repository's blob one's own by way of a manifest."""
    manifest = json.dumps(registry.image(f"{name}/private")).encode()

    answer = registry("PUT", f"/v2/{name}/manifests/v1", manifest, Content_Type=MANIFEST)

    assert (answer.status, answer.codes) == (404, ["MANIFEST_BLOB_UNKNOWN"])


def _empty_layers(registry: Client, name: str) -> tuple[dict[str, Any], str]:
    manifest = registry.image(name)
    return {**manifest, "layers": []}, MANIFEST


def _empty_index(registry: Client, name: str) -> tuple[dict[str, Any], str]:
    return index_manifest(), INDEX


def _null_layers(registry: Client, name: str) -> tuple[dict[str, Any], str]:
    """What BuildKit pushes for `FROM scratch` with labels: Go's empty list."""
    return {**registry.image(name), "layers": None, "annotations": None}, MANIFEST


def _null_manifests(registry: Client, name: str) -> tuple[dict[str, Any], str]:
    return {"schemaVersion": 2, "mediaType": INDEX, "manifests": None, "subject": None}, INDEX


def _null_in_descriptors(registry: Client, name: str) -> tuple[dict[str, Any], str]:
    platform = {"os": "linux", "architecture": "amd64", "os.features": None, "features": None}
    entry = {"urls": None, "annotations": None, "data": None, "artifactType": None, "platform": platform}
    index = index_manifest(registry.push_image(name))
    return {**index, "manifests": [index["manifests"][0] | entry]}, INDEX


def _nested_index(registry: Client, name: str) -> tuple[dict[str, Any], str]:
    inner = registry.push_manifest(name, "inner", index_manifest(registry.push_image(name)), INDEX)
    return index_manifest(inner), INDEX


def _build_cache(registry: Client, name: str) -> tuple[dict[str, Any], str]:
    """What BuildKit exports as a cache: an index that lists blobs."""
    registry.push_blob(name, CONTENT)
    return {**index_manifest(), "manifests": [descriptor(CONTENT, LAYER)]}, INDEX


def _foreign_layer(registry: Client, name: str) -> tuple[dict[str, Any], str]:
    manifest = registry.image(name)
    foreign = {**descriptor(b"elsewhere", LAYER), "urls": ["https://elsewhere.example/layer"]}
    return {**manifest, "layers": [foreign, *manifest["layers"]]}, MANIFEST


def _docker_schema_2(registry: Client, name: str) -> tuple[dict[str, Any], str]:
    media_type = "application/vnd.docker.distribution.manifest.v2+json"
    return {**registry.image(name), "mediaType": media_type}, media_type


def _artifact(registry: Client, name: str) -> tuple[dict[str, Any], str]:
    media_type = "application/vnd.oci.artifact.manifest.v1+json"
    registry.push_blob(name, CONTENT)
    blobs = [descriptor(CONTENT, "text/plain")]
    return {"mediaType": media_type, "artifactType": "application/x", "blobs": blobs}, media_type


@pytest.mark.parametrize(
    "make",
    [
        _empty_layers,
        _empty_index,
        _null_layers,
        _null_manifests,
        _null_in_descriptors,
        _nested_index,
        _build_cache,
        _foreign_layer,
        _docker_schema_2,
        _artifact,
    ],
)
def test_manifest_of_every_shape(registry: Client, name: str, make: Any) -> None:
    """ "Pushing Manifests": all kinds are kept and come back as they went."""
    manifest, media_type = make(registry, name)
    content = json.dumps(manifest).encode()

    pushed = registry("PUT", f"/v2/{name}/manifests/v1", content, Content_Type=media_type)
    pulled = registry("GET", f"/v2/{name}/manifests/v1")

    assert (pushed.status, pulled.body, pulled.headers["Content-Type"]) == (201, content, media_type)


@pytest.mark.parametrize(
    "content", [b"", b"no json", b"[]", b"{}", b'{"schemaVersion": 1}', b'{"schemaVersion":2,"layers":[]}', b"\xff\xfe"]
)
def test_broken_manifest_is_refused(registry: Client, name: str, content: bytes) -> None:
    """ "Error Codes", MANIFEST_INVALID."""
    answer = registry("PUT", f"/v2/{name}/manifests/v1", content, Content_Type=MANIFEST)

    assert (answer.status, answer.codes) == (400, ["MANIFEST_INVALID"])


def test_manifest_under_a_wrong_digest_is_refused(registry: Client, name: str) -> None:
    """ "Pushing Manifests": the digest in the URL must be that of the bytes."""
    content = json.dumps(registry.image(name)).encode()

    answer = registry("PUT", f"/v2/{name}/manifests/{digest_of(b'other')}", content, Content_Type=MANIFEST)

    assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])


def test_manifest_of_four_megabytes(registry: Client, name: str) -> None:
    """ "Pushing Manifests": manifests of 4 MiB are accepted, larger ones answered by 413."""
    manifest = registry.image(name)
    padding = 4 * 1024 * 1024 - len(json.dumps({**manifest, "annotations": {"padding": ""}}))
    whole = json.dumps({**manifest, "annotations": {"padding": "x" * padding}}).encode()

    accepted = registry("PUT", f"/v2/{name}/manifests/v1", whole, Content_Type=MANIFEST)
    refused = registry("PUT", f"/v2/{name}/manifests/v2", whole + b" ", Content_Type=MANIFEST)

    assert len(whole) == 4 * 1024 * 1024
    assert accepted.status == 201
    assert (refused.status, refused.codes) == (413, ["MANIFEST_INVALID"])


def test_tag_parameters(registry: Client, name: str) -> None:
    """Development version, "Pushing Manifests": ``?tag=`` on a push by digest sets these tags, told by OCI-Tag."""
    content = json.dumps(registry.image(name)).encode()
    path = f"/v2/{name}/manifests/{digest_of(content)}?tag=one&tag=two"

    answer = registry("PUT", path, content, Content_Type=MANIFEST)

    assert answer.status == 201
    assert answer.headers.get_all("OCI-Tag") == ["one", "two"]
    assert registry("GET", f"/v2/{name}/tags/list").json()["tags"] == ["one", "two"]


def test_subject_is_acknowledged(registry: Client, name: str) -> None:
    """ "Pushing Manifests with Subject": OCI-Subject has the subject's digest, whether it is there or not."""
    subject = {"mediaType": MANIFEST, "digest": digest_of(b"not there"), "size": 9}
    content = json.dumps(registry.image(name, subject=subject)).encode()

    answer = registry("PUT", f"/v2/{name}/manifests/{digest_of(content)}", content, Content_Type=MANIFEST)

    assert (answer.status, answer.headers["OCI-Subject"]) == (201, subject["digest"])


def test_same_blob_twice_is_no_error(registry: Client, name: str) -> None:
    """Pushing what is there already succeeds; configuration and layer may be one blob."""
    registry.push_blob(name, CONTENT)
    registry.push_blob(name, CONTENT)

    digest = registry.push_manifest(name, "v1", image_manifest(CONTENT, CONTENT))

    assert registry("GET", f"/v2/{name}/manifests/{digest}").status == 200
    assert image_manifest(CONTENT)["config"]["mediaType"] == CONFIG
