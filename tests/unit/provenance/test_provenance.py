"""Statements: signatures, envelopes and bills of materials."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from tests.parts.base_images import Layout, layer_tar

from hythe.client.layout import ImageLayout
from hythe.oci.manifest import Descriptor
from hythe.provenance.envelope import Untrusted, open_envelope, sign
from hythe.provenance.packages import InstalledPackages, Package, installed_packages
from hythe.provenance.sbom import bill_of_materials

DPKG = """\
Package: bash
Status: install ok installed
Version: 5.2-1
Architecture: amd64

Package: gone
Status: deinstall ok config-files
Version: 1
Architecture: amd64
"""
APK = "P:musl\nV:1.2.4-r2\nA:x86_64\n\nP:zlib\nV:1.3\nA:x86_64\n"


def test_an_envelope_requires_the_key_that_signed_it() -> None:
    """Another key or a changed payload is refused."""
    key, other = generate_private_key(SECP256R1()), generate_private_key(SECP256R1())
    envelope = sign(b'{"a": 1}', key, "k")

    assert open_envelope(envelope, [other.public_key(), key.public_key()]) == b'{"a": 1}'
    for broken, keys in (
        (envelope, [other.public_key()]),
        (envelope.replace(b"eyJ", b"eyK"), [key.public_key()]),
        (b"{}", [key.public_key()]),
        (b"\xff", [key.public_key()]),
    ):
        with pytest.raises(Untrusted):
            open_envelope(broken, keys)


def test_an_envelope_of_another_type_is_refused() -> None:
    """A valid signature around something other than an in-toto statement proves nothing (DSSE signs the type, too)."""
    key, payload, kind = generate_private_key(SECP256R1()), b'{"a": 1}', b"text/plain"
    message = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    signature = key.sign(message, ECDSA(SHA256()))
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": kind.decode(),
        "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": "k"}],
    }

    with pytest.raises(Untrusted):
        open_envelope(json.dumps(envelope).encode(), [key.public_key()])


def _image(folder: Path, *layers: bytes) -> tuple[ImageLayout, Descriptor]:
    layout = Layout(folder)
    added = layout.add_image(layers)
    return ImageLayout(folder), Descriptor(added["mediaType"], added["digest"], added["size"])


def test_packages_of_debian_and_alpine(tmp_path: Path) -> None:
    """Packages of dpkg and apk are found in any layer, but not removed packages."""
    layout, image = _image(tmp_path, layer_tar({"var/lib/dpkg/status": DPKG}), layer_tar({"lib/apk/db/installed": APK}))

    assert installed_packages(layout, image) == InstalledPackages(
        (
            Package("apk", "musl", "1.2.4-r2", "x86_64"),
            Package("apk", "zlib", "1.3", "x86_64"),
            Package("deb", "bash", "5.2-1", "amd64"),
        )
    )


def test_later_layers_replace_databases(tmp_path: Path) -> None:
    """If a later layer replaces or deletes a database, the final state counts."""
    lower = layer_tar({"var/lib/dpkg/status": DPKG, "lib/apk/db/installed": APK})
    upper = layer_tar({"var/lib/dpkg/status": DPKG.replace("5.2-1", "5.3-1"), "lib/apk/db/.wh.installed": ""})
    layout, image = _image(tmp_path, lower, upper)

    assert installed_packages(layout, image).packages == (Package("deb", "bash", "5.3-1", "amd64"),)


def test_python_packages(tmp_path: Path) -> None:
    """Python packages are found in any environment, by their normalized names, but not removed ones."""
    metadata = "Metadata-Version: 2.4\nName: {}\nVersion: {}\n\nName: of the description\n"
    lower = layer_tar(
        {
            "usr/lib/python3/dist-packages/PyYAML-6.0.egg-info/PKG-INFO": metadata.format("PyYAML", "6.0"),
            "opt/app/lib/python3.13/site-packages/old-1.dist-info/METADATA": metadata.format("old", "1"),
        }
    )
    upper = layer_tar(
        {
            "opt/app/lib/python3.13/site-packages/.wh.old-1.dist-info": "",
            "opt/app/lib/python3.13/site-packages/a_b.c-2.dist-info/METADATA": metadata.format("A_b.c", "2"),
        }
    )
    layout, image = _image(tmp_path, lower, upper)

    assert installed_packages(layout, image).packages == (
        Package("pypi", "a-b-c", "2", ""),
        Package("pypi", "pyyaml", "6.0", ""),
    )
    bill = bill_of_materials(tmp_path, image, "hub.example/alice/app", datetime(2026, 11, 23, tzinfo=UTC))
    assert bill["packages"][2]["externalRefs"][0]["referenceLocator"] == "pkg:pypi/pyyaml@6.0"


def test_the_bill_of_materials_is_spdx(tmp_path: Path) -> None:
    """The document describes the image, which contains its packages, each with a package URL."""
    _, image = _image(tmp_path, layer_tar({"var/lib/dpkg/status": DPKG}))

    bill = bill_of_materials(tmp_path, image, "hub.example/alice/app", datetime(2026, 11, 23, tzinfo=UTC))

    assert bill["spdxVersion"] == "SPDX-2.3"
    assert all(each["filesAnalyzed"] is False for each in bill["packages"]), (
        "otherwise SPDX requires a verification code of all files"
    )
    assert bill["packages"][1]["externalRefs"][0]["referenceLocator"] == "pkg:deb/bash@5.2-1?arch=amd64"
    assert [each["relationshipType"] for each in bill["relationships"]] == ["DESCRIBES", "CONTAINS"]
