"""Manifests without some of their content, which the specification leaves to the registry; here a setting allows them.

The requests are those that the official conformance program sends for its data set "sparse", in its order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.contracts.distribution import CONFIG, INDEX, LAYER, MANIFEST, Client, descriptor, digest_of, fresh_name
from tests.parts.hub import REGISTRY, server_factory

CONFIGURATION = b'{"architecture":"amd64","os":"linux"}'


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def sparse_registry(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A connection to a private registry with the setting."""
    url = request.getfixturevalue("new_postgresql_url")() if request.param == "postgresql" else None
    with server_factory(tmp_path_factory.mktemp("sparse"), REGISTRY) as start:
        client = Client(start(["--sparse-images"], database_url=url).port)
        yield client
        client.close()


def manifests(registry: Client, name: str) -> dict[str, tuple[dict[str, Any], str]]:
    """Push the blobs that are not missing; return manifests by tag, in the order in which they are pushed."""
    for blob in (CONFIGURATION, b"layer 1"):
        registry.push_blob(name, blob)
    layers = [descriptor(layer, LAYER) for layer in (b"layer 1", b"missing layer")]
    config = descriptor(CONFIGURATION, CONFIG)
    fields = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config}
    whole = {**fields, "layers": layers[:1]}
    listed = [descriptor(content, MANIFEST) for content in (json.dumps(whole).encode(), b"missing image")]
    platforms = [{"os": "linux", "architecture": each} for each in ("amd64", "arm64")]
    entries = [entry | {"platform": platform} for entry, platform in zip(listed, platforms, strict=True)]
    return {
        "sparse-image": ({**fields, "layers": layers}, MANIFEST),
        "image": (whole, MANIFEST),
        "sparse-index": ({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}, INDEX),
    }


def test_sparse_data_of_the_conformance_program(sparse_registry: Client) -> None:
    """Pushed by digest and by tag, listed, pulled, and deleted: tags first, then manifests, then blobs."""
    registry, name = sparse_registry, fresh_name()
    pushed = manifests(registry, name)
    contents = {tag: json.dumps(manifest).encode() for tag, (manifest, _) in pushed.items()}
    digests = {tag: digest_of(content) for tag, content in contents.items()}

    for tag, (_, media_type) in pushed.items():
        for reference in (digests[tag], tag):
            path = f"/v2/{name}/manifests/{reference}"
            answer = registry("PUT", path, contents[tag], Content_Type=media_type)
            assert (answer.status, answer.headers["Docker-Content-Digest"]) == (201, digests[tag])
            assert registry("HEAD", path).headers["Content-Length"] == str(len(contents[tag]))
            assert registry("GET", path).body == contents[tag]
        assert registry("GET", f"/v2/{name}/referrers/{digests[tag]}").json()["manifests"] == []

    assert registry("GET", f"/v2/{name}/tags/list").json()["tags"] == sorted(pushed)
    assert registry("GET", f"/v2/{name}/manifests/{digest_of(b'missing image')}").codes == ["MANIFEST_UNKNOWN"]
    assert registry("GET", f"/v2/{name}/blobs/{digest_of(b'missing layer')}").codes == ["BLOB_UNKNOWN"]

    doomed = [f"manifests/{tag}" for tag in pushed]
    doomed += [f"manifests/{digests[tag]}" for tag in reversed(pushed)]
    doomed += [f"blobs/{digest_of(blob)}" for blob in (CONFIGURATION, b"layer 1")]
    for path in doomed:
        assert registry("DELETE", f"/v2/{name}/{path}").status == 202
        assert registry("HEAD", f"/v2/{name}/{path}").status == 404


def test_referrers_of_what_is_missing(sparse_registry: Client) -> None:
    """An index of nothing that is here, about a subject that is not here either."""
    registry, name = sparse_registry, fresh_name()
    subject = descriptor(b"missing subject", MANIFEST)
    listed = [descriptor(b"missing image", MANIFEST)]
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": listed, "subject": subject}

    digest = registry.push_manifest(name, "v1", index, INDEX)

    referrers = registry("GET", f"/v2/{name}/referrers/{subject['digest']}").json()["manifests"]
    assert [referrer["digest"] for referrer in referrers] == [digest]
