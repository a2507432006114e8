"""Documents that would take long to parse are refused before."""

import json
import time

import pytest

from hythe.oci.config import ImageConfig
from hythe.oci.document import MAX_TEXTS, has_too_many_texts
from hythe.oci.errors import InvalidManifest
from hythe.oci.manifest import MAX_DESCRIPTORS, OCI_INDEX, OCI_MANIFEST, Manifest

CONFIG = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": "sha256:" + "a" * 64, "size": 2}
IMAGE = {"schemaVersion": 2, "config": CONFIG, "layers": []}


def entries(count: int) -> list[dict[str, object]]:
    """Descriptors of distinct content."""
    return [{"mediaType": OCI_MANIFEST, "digest": f"sha256:{number:064x}", "size": 1} for number in range(count)]


TOO_LARGE = {
    "annotations": IMAGE | {"annotations": {str(number): "" for number in range(60_000)}},
    "urls": IMAGE | {"layers": [CONFIG | {"urls": [""] * 120_000}]},
    "unknown fields": IMAGE | {"unknown": [""] * 120_000},
    "entries": {"schemaVersion": 2, "manifests": entries(25_000)},
    "layers": IMAGE | {"layers": entries(MAX_DESCRIPTORS)},
    "annotated entries": {
        "schemaVersion": 2,
        "manifests": [each | {"annotations": {str(n): "" for n in range(30)}} for each in entries(2_000)],
    },
}


@pytest.mark.parametrize("document", TOO_LARGE.values(), ids=TOO_LARGE.keys())
def test_a_large_manifest_is_refused_with_the_limit(document: dict[str, object]) -> None:
    """Whatever part makes it large, the error says what is allowed."""
    with pytest.raises(InvalidManifest, match=f"{MAX_TEXTS}|{MAX_DESCRIPTORS}"):
        Manifest.parse(json.dumps(document).encode())


@pytest.mark.parametrize("count", [1, 500, MAX_DESCRIPTORS])
def test_as_many_entries_as_allowed(count: int) -> None:
    """An index that exhausts the limit is taken."""
    document = json.dumps({"schemaVersion": 2, "manifests": entries(count)}).encode()
    assert len(Manifest.parse(document, OCI_INDEX).manifests) == count


def test_a_large_manifest_of_few_texts() -> None:
    """Its size alone does not matter: four megabytes may be one annotation."""
    document = json.dumps(IMAGE | {"annotations": {"note": "x" * 4_000_000}}).encode()
    assert len(Manifest.parse(document, OCI_MANIFEST).annotations["note"]) == 4_000_000


def test_a_configuration_of_many_steps_is_refused() -> None:
    """44,000 steps are no image that anybody built."""
    steps = [{"created_by": f"RUN {number}"} for number in range(44_000)]
    with pytest.raises(InvalidManifest, match=str(MAX_TEXTS)):
        ImageConfig.parse(json.dumps({"os": "linux", "history": steps}).encode())


def test_counting_costs_nothing() -> None:
    """The bound is for documents that take long, so finding them must not."""
    began = time.perf_counter()
    assert has_too_many_texts(b'""' * 2_000_000)
    assert time.perf_counter() - began < 0.5
