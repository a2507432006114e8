"""Manifests: their kinds, what is refused, and that their bytes stay as they are."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hythe.oci.errors import InvalidManifest
from hythe.oci.manifest import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_ARTIFACT,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    Descriptor,
    ImageManifest,
    Index,
    Manifest,
    ManifestKind,
    Platform,
)

SHA = "sha256:" + "a" * 64
LAYER = {"mediaType": OCI_LAYER_GZIP, "digest": "sha256:" + "b" * 64, "size": 2}
CONFIG = {"mediaType": OCI_CONFIG, "digest": SHA, "size": 1}
IMAGE: dict[str, Any] = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": CONFIG, "layers": [LAYER]}
CHILD = {"mediaType": OCI_MANIFEST, "digest": SHA, "size": 3, "platform": {"os": "linux", "architecture": "arm64"}}
INDEX: dict[str, Any] = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [CHILD]}


def parse(value: object, media_type: str = "") -> Manifest:
    return Manifest.parse(json.dumps(value).encode(), media_type)


@pytest.mark.parametrize(
    ("value", "header", "kind", "media_type"),
    [
        (IMAGE, "", ManifestKind.IMAGE, OCI_MANIFEST),
        (IMAGE, OCI_MANIFEST, ManifestKind.IMAGE, OCI_MANIFEST),
        (IMAGE, f"{OCI_MANIFEST}; charset=utf-8", ManifestKind.IMAGE, OCI_MANIFEST),
        (IMAGE, "application/json", ManifestKind.IMAGE, OCI_MANIFEST),
        (IMAGE | {"mediaType": DOCKER_MANIFEST}, DOCKER_MANIFEST, ManifestKind.IMAGE, DOCKER_MANIFEST),
        ({k: v for k, v in IMAGE.items() if k != "mediaType"}, "", ManifestKind.IMAGE, OCI_MANIFEST),
        ({k: v for k, v in INDEX.items() if k != "mediaType"}, "", ManifestKind.INDEX, OCI_INDEX),
        (INDEX, OCI_INDEX, ManifestKind.INDEX, OCI_INDEX),
        (INDEX | {"mediaType": DOCKER_LIST}, "", ManifestKind.INDEX, DOCKER_LIST),
        (INDEX | {"manifests": []}, "", ManifestKind.INDEX, OCI_INDEX),
        (IMAGE | {"layers": []}, "", ManifestKind.IMAGE, OCI_MANIFEST),
        ({"mediaType": OCI_ARTIFACT, "blobs": [LAYER]}, "", ManifestKind.ARTIFACT, OCI_ARTIFACT),
    ],
)
def test_kinds(value: object, header: str, kind: ManifestKind, media_type: str) -> None:
    """The header, the field or the shape tells what a manifest is."""
    manifest = parse(value, header)

    assert (manifest.kind, manifest.media_type) == (kind, media_type)


@pytest.mark.parametrize(
    ("value", "header"),
    [
        ([], ""),
        ("text", ""),
        ({}, ""),
        ({"schemaVersion": 1, "fsLayers": []}, ""),
        (IMAGE, OCI_INDEX),
        (IMAGE, DOCKER_MANIFEST),
        (IMAGE | {"schemaVersion": 1}, ""),
        (IMAGE | {"config": None}, ""),
        (IMAGE | {"layers": None}, ""),
        (IMAGE | {"manifests": []}, ""),
        (INDEX | {"layers": []}, ""),
        (INDEX | {"config": CONFIG}, ""),
        ({"schemaVersion": 2, "mediaType": OCI_INDEX}, ""),
        (IMAGE | {"mediaType": "text/plain"}, ""),
        (IMAGE | {"config": CONFIG | {"digest": "sha256:12"}}, ""),
        (IMAGE | {"layers": [LAYER | {"size": -1}]}, ""),
        (IMAGE | {"layers": [{"mediaType": OCI_LAYER_GZIP}]}, ""),
        (INDEX | {"manifests": [CHILD | {"digest": "md5:" + "0" * 32}]}, ""),
        (IMAGE | {"subject": CONFIG | {"digest": ""}}, ""),
    ],
)
def test_what_is_no_manifest_is_refused(value: object, header: str) -> None:
    """Contradictions, missing parts and broken descriptors are said to be wrong."""
    with pytest.raises(InvalidManifest):
        parse(value, header)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_one_way(content: bytes) -> None:
    """Random bytes are no manifest."""
    with pytest.raises(InvalidManifest):
        Manifest.parse(content)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(field=st.sampled_from([*IMAGE, "subject", "annotations", "manifests", "blobs", "artifactType"]), value=JSON)
def test_any_field_is_read_or_refused(field: str, value: object) -> None:
    """A field of the wrong kind is refused like everything else."""
    content = json.dumps(IMAGE | {field: value}).encode()
    try:
        manifest = Manifest.parse(content)
    except InvalidManifest:
        return
    assert manifest.content == content


def test_nesting_without_end_is_refused() -> None:
    """A manifest of brackets does not exhaust the stack."""
    with pytest.raises(InvalidManifest):
        Manifest.parse(b'{"annotations":' + b"[" * 200_000)


def test_bytes_stay_as_they_came() -> None:
    """Spaces, order and unknown fields are part of the digest."""
    content = json.dumps(IMAGE | {"unknown": [1, 2]}, indent=3).encode()
    manifest = Manifest.parse(content)

    assert manifest.content == content
    assert manifest.descriptor() == Descriptor(OCI_MANIFEST, str(manifest.digest()), len(content))
    assert manifest.digest().matches(content)


def test_foreign_layers_need_not_be_there() -> None:
    """What may live elsewhere is no blob of the registry."""
    elsewhere = LAYER | {"urls": ["https://example.com/layer"], "digest": "sha256:" + "c" * 64}
    manifest = parse(IMAGE | {"layers": [LAYER, elsewhere]})

    assert [blob.digest for blob in manifest.blobs] == [SHA, LAYER["digest"]]
    assert len(manifest.layers) == 2


def test_artifact_types() -> None:
    """An image's configuration tells its artifact type, unless a field does."""
    assert parse(IMAGE).effective_artifact_type == OCI_CONFIG
    assert parse(IMAGE | {"artifactType": "example/sbom"}).effective_artifact_type == "example/sbom"
    assert parse(INDEX).effective_artifact_type == ""


def test_what_we_make_is_what_we_read() -> None:
    """Manifests made here are manifests, and leave out what is empty."""
    config, layer = Descriptor(OCI_CONFIG, SHA, 1), Descriptor(OCI_LAYER_GZIP, SHA, 2)
    image = ImageManifest(2, OCI_MANIFEST, config, (layer,), annotations={"a": "b"}).encode()
    child = Descriptor(OCI_MANIFEST, SHA, len(image), platform=Platform("arm64", "linux", variant="v8"))
    index = Index(2, OCI_INDEX, (child,)).encode()

    assert Manifest.parse(image).layers == (layer,)
    assert Manifest.parse(index).manifests == (child,)
    assert str(child.platform) == "linux/arm64/v8"
    assert set(json.loads(index)) == {"schemaVersion", "mediaType", "manifests"}
