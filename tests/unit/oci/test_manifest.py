"""Manifests: their kinds, what is refused, and that their bytes stay as they are."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hythe.oci.errors import InvalidManifest
from hythe.oci.manifest import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_ARTIFACT,
    OCI_CONFIG,
    OCI_EMPTY,
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
EMPTY = {"mediaType": OCI_EMPTY, "digest": SHA, "size": 2, "data": "e30="}
CHILD: dict[str, Any] = {
    "mediaType": OCI_MANIFEST,
    "digest": SHA,
    "size": 3,
    "platform": {"os": "linux", "architecture": "arm64"},
}
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
        (IMAGE | {"layers": None}, "", ManifestKind.IMAGE, OCI_MANIFEST),
        (IMAGE | {"layers": None, "manifests": None}, "", ManifestKind.IMAGE, OCI_MANIFEST),
        (INDEX | {"manifests": None}, "", ManifestKind.INDEX, OCI_INDEX),
        (INDEX | {"layers": None, "config": None}, OCI_INDEX, ManifestKind.INDEX, OCI_INDEX),
        ({"schemaVersion": 2, "manifests": None}, "", ManifestKind.INDEX, OCI_INDEX),
        (IMAGE | {"mediaType": None}, OCI_MANIFEST, ManifestKind.IMAGE, OCI_MANIFEST),
        (IMAGE | {"mediaType": ""}, "", ManifestKind.IMAGE, OCI_MANIFEST),
        (IMAGE, "text/plain; charset=utf-8", ManifestKind.IMAGE, OCI_MANIFEST),
        (IMAGE | {"mediaType": f"{OCI_MANIFEST}; charset=utf-8"}, OCI_MANIFEST, ManifestKind.IMAGE, OCI_MANIFEST),
        (IMAGE | {"mediaType": OCI_MANIFEST.upper()}, OCI_MANIFEST, ManifestKind.IMAGE, OCI_MANIFEST),
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
        ({name: value for name, value in IMAGE.items() if name != "layers"}, ""),
        ({"schemaVersion": 2, "layers": None}, ""),
        (IMAGE | {"manifests": []}, ""),
        ({"mediaType": OCI_ARTIFACT, "manifests": [CHILD]}, ""),
        (IMAGE | {"config": CONFIG | {"digest": None}}, ""),
        (IMAGE | {"layers": [LAYER | {"size": None}]}, ""),
        (IMAGE | {"layers": [None]}, ""),
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


def test_a_byte_order_mark_is_named() -> None:
    """Other clients could not read the image; the error says what is wrong."""
    with pytest.raises(InvalidManifest, match="byte order mark"):
        Manifest.parse(json.dumps(IMAGE).encode("utf-8-sig"))


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


FULL_PLATFORM = CHILD["platform"] | {"os.version": "1", "os.features": ["a"], "variant": "v8"}
FULL = CHILD | {
    "urls": ["https://example.com"],
    "annotations": {"a": "b"},
    "data": "e30=",
    "artifactType": "a/b",
    "platform": FULL_PLATFORM,
}
OPTIONAL = {
    "descriptor": [name for name in FULL if name not in ("mediaType", "digest", "size")],
    "platform": list(FULL_PLATFORM),
    "manifest": ["mediaType", "artifactType", "layers", "blobs", "subject", "annotations"],
}


@given(
    descriptor=st.sets(st.sampled_from(OPTIONAL["descriptor"])),
    platform=st.sets(st.sampled_from(OPTIONAL["platform"])),
    manifest=st.sets(st.sampled_from(OPTIONAL["manifest"])),
)
def test_null_is_as_good_as_nothing(descriptor: set[str], platform: set[str], manifest: set[str]) -> None:
    """Any optional field may be null, as Go's empty lists and pointers are, and means what its absence means."""

    def index(absent: Callable[[dict[str, Any], set[str]], dict[str, Any]]) -> dict[str, Any]:
        child = absent(FULL | {"platform": absent(FULL_PLATFORM, platform)}, descriptor)
        whole = {**INDEX, "manifests": [child, CHILD], "artifactType": "a/b", "annotations": {"a": "b"}}
        return absent(whole | {"subject": CHILD}, manifest)

    nulls = parse(index(lambda value, names: value | dict.fromkeys(names)))
    nothing = parse(index(lambda value, names: {name: each for name, each in value.items() if name not in names}))

    assert msgspec.structs.replace(nulls, content=b"") == msgspec.structs.replace(nothing, content=b"")


# Written by the programs named, except that digests are made up; tests/contracts pushes them.
REAL_DOCUMENTS = {
    "BuildKit, FROM scratch with labels": IMAGE | {"layers": None},
    "regctl image create": IMAGE | {"layers": None, "annotations": None},
    "regctl index create": INDEX | {"manifests": None},
    "podman manifest create": {"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": None},
    "buildah, an OCI image without mediaType": {name: IMAGE[name] for name in ("schemaVersion", "config", "layers")},
    "oras, an artifact without files": IMAGE | {"artifactType": "a/b", "config": EMPTY, "layers": [EMPTY]},
    "cosign, an attachment": IMAGE | {"layers": [LAYER | {"annotations": {"dev.cosignproject.cosign/signature": ""}}]},
    "docker manifest create": INDEX
    | {
        "mediaType": DOCKER_LIST,
        "manifests": [CHILD | {"platform": {"architecture": "arm", "os": "linux", "features": None}}],
    },
    "Windows images": INDEX
    | {"manifests": [CHILD | {"platform": {"os": "windows", "architecture": "amd64", "os.features": None}}]},
    "attestations": INDEX | {"manifests": [CHILD | {"platform": {"os": "unknown", "architecture": "unknown"}}]},
}


@pytest.mark.parametrize("value", REAL_DOCUMENTS.values(), ids=REAL_DOCUMENTS)
def test_documents_of_usual_clients(value: dict[str, Any]) -> None:
    """What they write is taken, with the line break at the end that some add."""
    content = json.dumps(value).encode() + b"\n"

    assert Manifest.parse(content, value.get("mediaType") or "").content == content


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
