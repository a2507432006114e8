"""Bills of materials of layers that a build made to exhaust the process that reads them."""

from __future__ import annotations

import gzip
import io
import resource
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from tests.parts.base_images import Layout, layer_tar

from hythe.client.errors import ContentMismatch
from hythe.client.layout import ImageLayout
from hythe.oci.manifest import OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST, Descriptor
from hythe.provenance import packages as module
from hythe.provenance.packages import Package, installed_packages
from hythe.provenance.sbom import bill_of_materials

MEMORY = 150 << 20
"""Bytes of data that the reading process can use; its code needs about 30 MB."""
DPKG = "Package: bash\nStatus: install ok installed\nVersion: 5.2-1\nArchitecture: amd64\n\n"
BASH = Package("deb", "bash", "5.2-1", "amd64")
PROGRAM = """
import sys, msgspec
from pathlib import Path
from hythe.client.layout import ImageLayout
from hythe.oci.manifest import Descriptor
from hythe.provenance.packages import installed_packages
found = installed_packages(ImageLayout(Path(sys.argv[1])), msgspec.json.decode(sys.argv[2], type=Descriptor))
sys.stdout.buffer.write(msgspec.json.encode(found))
"""


class Zeros(io.RawIOBase):
    """A file of zeros, without memory."""

    def read(self, size: int = -1) -> bytes:
        """Return zeros."""
        return bytes(size)


def large_layer(folder: Path, files: Iterable[tuple[str, int]], texts: dict[str, str]) -> bytes:
    """Return a gzip layer with files of zeros, then small files; kept small in memory while it is written."""
    path = folder / "layer.tgz"
    with gzip.open(path, "wb", compresslevel=1) as stream, tarfile.open(fileobj=stream, mode="w|") as archive:
        for name, size in files:
            member = tarfile.TarInfo(name)
            member.size = size
            archive.addfile(member, Zeros())
        for name, text in texts.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return path.read_bytes()


def image_of(folder: Path, *layers: bytes) -> Descriptor:
    """Write an image; a layer can be compressed already."""
    layout = Layout(folder)
    added = layout.add_image([layer for layer in layers if not layer.startswith(b"\x1f\x8b")])
    if compressed := [layout.add_blob(layer, OCI_LAYER_GZIP) for layer in layers if layer.startswith(b"\x1f\x8b")]:
        config = layout.add_json({}, OCI_CONFIG)
        manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": compressed}
        added = layout.add_json(manifest, OCI_MANIFEST)
    return Descriptor(added["mediaType"], added["digest"], added["size"])


def read_in_little_memory(folder: Path, image: Descriptor) -> module.InstalledPackages:
    """Return the packages, as a process with little memory finds them."""
    completed = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), msgspec.json.encode(image).decode()],
        capture_output=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY)),
        timeout=120,
    )
    assert completed.returncode == 0, completed.stderr.decode()
    return msgspec.json.decode(completed.stdout, type=module.InstalledPackages)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        pytest.param([(f"var/lib/dpkg/status.d/{n}", 60 << 20) for n in range(8)], "", id="many large files"),
        pytest.param([("lib/apk/db/installed", 500 << 20)], "lib/apk/db/installed has 524288000 bytes", id="huge file"),
        pytest.param([("var/lib/rpm/rpmdb.sqlite", 250 << 20)], "", id="no database at all"),
        pytest.param([(f"var/lib/dpkg/status.d/{n}", 0) for n in range(12_000)], "10000 databases", id="many files"),
    ],
)
def test_memory_is_flat(tmp_path: Path, files: list[tuple[str, int]], said: str) -> None:
    """Large files of zeros need no memory; what is left out is said, and other databases are read."""
    (tmp_path / "image").mkdir()
    content = large_layer(tmp_path, files[:1] if said.endswith("databases") else files, {"var/lib/dpkg/status": DPKG})
    if said.endswith("databases"):
        content = large_layer(tmp_path, [], {"var/lib/dpkg/status": DPKG} | {name: "" for name, _ in files})

    found = read_in_little_memory(tmp_path / "image", image_of(tmp_path / "image", content))

    assert found.packages == (BASH,)
    assert said in " ".join(found.left_out)
    assert bool(found.left_out) is bool(said)


def test_endless_databases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many packages, bytes in total, and long lines; later layers can still replace what was read."""
    monkeypatch.setattr(module, "MAX_PACKAGES", 100)
    monkeypatch.setattr(module, "MAX_TOTAL_SIZE", 100_000)
    many = "".join(f"P:p{number}\nV:1\n\n" for number in range(1000))
    long_line = f"Package: bash\nDescription: {'x' * 80_000}\nVersion: 5.2-1\nArchitecture: amd64\n"
    first = layer_tar({"lib/apk/db/installed": many, "usr/lib/apk/db/installed": "P:x\n" * 30_000})
    second = layer_tar({"lib/apk/db/installed": "P:musl\nV:1\n", "var/lib/dpkg/status": long_line})
    one, both = (image_of(tmp_path / str(len(layers)), *layers) for layers in ((first,), (first, second)))

    found = installed_packages(ImageLayout(tmp_path / "1"), one)
    replaced = installed_packages(ImageLayout(tmp_path / "2"), both)

    assert len(found.packages) == 100
    assert "more than 100 packages" in found.left_out[0]
    assert "usr/lib/apk/db/installed: the databases have more than" in found.left_out[1]
    assert replaced.packages == (Package("apk", "musl", "1", ""), BASH)


def test_an_rpm_database_whose_table_is_endless(tmp_path: Path) -> None:
    """A view instead of the table yields rows without end; large values are refused."""
    path = tmp_path / "rpm.sqlite"
    with sqlite3.connect(path) as connection:
        endless = "WITH RECURSIVE n(blob) AS (SELECT x'00' UNION ALL SELECT blob FROM n) SELECT * FROM n"
        connection.execute(f"CREATE VIEW Packages AS {endless}")
    connection.close()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(path, "var/lib/rpm/rpmdb.sqlite")
    image = image_of(tmp_path / "image", gzip.compress(buffer.getvalue()))

    assert installed_packages(ImageLayout(tmp_path / "image"), image).packages == ()


def test_a_document_says_what_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is bounded, because the hub signs no statement over its limit."""
    monkeypatch.setattr("hythe.provenance.sbom.MAX_ENTRIES_SIZE", 20_000)
    many = "".join(f"P:p{number}\nV:1\n\n" for number in range(1000))
    image = image_of(tmp_path, layer_tar({"lib/apk/db/installed": many}))

    bill = bill_of_materials(tmp_path, image, "hub.example/alice/app", datetime(2026, 11, 23, tzinfo=UTC))

    assert 10 < len(bill["packages"]) < 200
    left_out = 1001 - len(bill["packages"])
    assert bill["comment"] == (
        f"This document is not complete: {left_out} packages, as the document would be too large"
    )


def test_layers_of_another_compression_are_named(tmp_path: Path) -> None:
    """They are not read, and the document says so."""
    image = image_of(tmp_path, layer_tar({"lib/apk/db/installed": "P:musl\nV:1\n"}))
    layout = ImageLayout(tmp_path)
    content = layout.read_document(image.parsed_digest).replace(OCI_LAYER_GZIP.encode(), b"application/x.tar+zstd")
    changed = Descriptor(image.media_type, str(layout.add_document(content)), len(content))

    found = installed_packages(layout, changed)

    assert found.packages == ()
    assert "is not compressed with gzip" in found.left_out[0]


def test_a_layer_that_was_changed_after_the_build(tmp_path: Path) -> None:
    """A hook can replace a layer that the hub already has, so that it is not sent: its packages are not listed."""
    image = image_of(tmp_path, layer_tar({"var/lib/dpkg/status": DPKG}))
    layout = ImageLayout(tmp_path)
    [layer] = layout.read_manifest(image).layers
    layout.blob_path(layer.parsed_digest).write_bytes(gzip.compress(layer_tar({"lib/apk/db/installed": "P:musl\n"})))

    with pytest.raises(ContentMismatch):
        installed_packages(layout, image)
