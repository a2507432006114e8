"""Software bills of materials: SPDX 2.3 documents of the packages in an image."""

from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hythe.client.layout import ImageLayout
from hythe.oci.manifest import Descriptor
from hythe.provenance.packages import Package, installed_packages

_IMAGE = "SPDXRef-Image"


def bill_of_materials(layout: Path, image: Descriptor, name: str, at: datetime) -> dict[str, Any]:
    """Return the SPDX document of an image in an OCI layout, named ``name``."""
    packages = installed_packages(ImageLayout(layout), image)
    entries = [_entry(number, package) for number, package in enumerate(packages, 1)]
    own = {
        "SPDXID": _IMAGE,
        "name": name,
        "versionInfo": image.digest,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "primaryPackagePurpose": "CONTAINER",
        "externalRefs": [_reference(f"pkg:oci/{name.rpartition('/')[2]}@{quote(image.digest, safe='')}")],
    }
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"{name}@{image.digest}",
        "documentNamespace": f"https://{name}/spdx/{image.digest.replace(':', '-')}",
        "creationInfo": {"created": f"{at:%Y-%m-%dT%H:%M:%SZ}", "creators": ["Tool: hythe"]},
        "packages": [own, *entries],
        "relationships": [
            _relationship("SPDXRef-DOCUMENT", "DESCRIBES", _IMAGE),
            *(_relationship(_IMAGE, "CONTAINS", entry["SPDXID"]) for entry in entries),
        ],
    }


def _entry(number: int, package: Package) -> dict[str, Any]:
    url = f"pkg:{package.kind}/{quote(package.name)}@{quote(package.version)}?arch={quote(package.architecture)}"
    return {
        "SPDXID": f"SPDXRef-Package-{number}",
        "name": package.name,
        "versionInfo": package.version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "externalRefs": [_reference(url)],
    }


def _reference(url: str) -> dict[str, str]:
    return {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": url}


def _relationship(one: str, how: str, other: str) -> dict[str, str]:
    return {"spdxElementId": one, "relationshipType": how, "relatedSpdxElement": other}
