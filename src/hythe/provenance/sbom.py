"""Software bills of materials: SPDX 2.3 documents of the packages in an image."""

from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from hythe.client.layout import ImageLayout
from hythe.oci.manifest import Descriptor
from hythe.provenance.packages import Package, installed_packages

MAX_ENTRIES_SIZE = 8 << 20
"""Maximum bytes of the packages in a document: the hub signs statements of up to 16 MiB."""
_IMAGE = "SPDXRef-Image"


def bill_of_materials(layout: Path, image: Descriptor, name: str, at: datetime) -> dict[str, Any]:
    """Return the SPDX document of an image in an OCI layout, named ``name``.

    Its ``comment`` says what was left out because of a limit.
    """
    found = installed_packages(ImageLayout(layout), image)
    left_out = list(found.left_out)
    entries: list[dict[str, Any]] = []
    size = 0
    for number, package in enumerate(found.packages, 1):
        entry = _entry(number, package)
        size += len(msgspec.json.encode(entry))
        if size > MAX_ENTRIES_SIZE:
            left_out.append(f"{len(found.packages) - number + 1} packages, as the document would be too large")
            break
        entries.append(entry)
    comment = {"comment": f"This document is not complete: {'; '.join(left_out)}"} if left_out else {}
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
        **comment,
        "documentNamespace": f"https://{name}/spdx/{image.digest.replace(':', '-')}",
        "creationInfo": {"created": f"{at:%Y-%m-%dT%H:%M:%SZ}", "creators": ["Tool: hythe"]},
        "packages": [own, *entries],
        "relationships": [
            _relationship("SPDXRef-DOCUMENT", "DESCRIBES", _IMAGE),
            *(_relationship(_IMAGE, "CONTAINS", entry["SPDXID"]) for entry in entries),
        ],
    }


def _entry(number: int, package: Package) -> dict[str, Any]:
    url = f"pkg:{package.kind}/{quote(package.name)}@{quote(package.version)}"
    if package.architecture:
        url += f"?arch={quote(package.architecture)}"
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
