"""Reads the package databases in an image's layers: dpkg, apk and rpm (SQLite format)."""

import sqlite3
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

import msgspec
from isal import igzip

from hythe.client.layout import ImageLayout
from hythe.oci.digest import Digest
from hythe.oci.layer import EntryContent, EntryKind, LayerEntry, Opaque, Whiteout, read_layer
from hythe.oci.manifest import Descriptor

MAX_DATABASE_SIZE = 64 << 20
"""Maximum bytes of a package database; larger ones are left out."""
RPM_TAGS = {1000: "name", 1001: "version", 1002: "release", 1022: "architecture"}
_RPM_STRING = 6


class Package(msgspec.Struct, frozen=True, order=True):
    """An installed package; ``kind`` is its type in package URLs: deb, apk or rpm."""

    kind: str
    name: str
    version: str
    architecture: str


def installed_packages(layout: ImageLayout, image: Descriptor) -> list[Package]:
    """Return the installed packages according to the databases in the image's layers, sorted."""
    files: dict[str, bytes] = {}
    for layer in layout.read_manifest(image).layers:
        if layer.media_type.endswith("gzip"):
            _apply(layout, layer.parsed_digest, files)
    found: set[Package] = set()
    for path, content in files.items():
        reader = _reader(path)
        if reader is not None:
            found.update(reader(content))
    return sorted(found)


def _apply(layout: ImageLayout, digest: Digest, files: dict[str, bytes]) -> None:
    """Apply one layer to the databases known so far."""
    with layout.open_blob(digest) as compressed, _decompress(compressed) as stream:
        for member, content in read_layer(stream):
            match member:
                case Whiteout(path) | Opaque(path):
                    for known in [each for each in files if each == path or each.startswith(f"{path}/")]:
                        del files[known]
                case LayerEntry(path=path, kind=EntryKind.FILE, size=size) if (
                    _reader(path) and size <= MAX_DATABASE_SIZE
                ):
                    files[path] = _bytes(content)


def _decompress(compressed: BinaryIO) -> BinaryIO:
    return cast(BinaryIO, igzip.IGzipFile(fileobj=compressed, mode="rb"))  # type: ignore[no-untyped-call]


def _bytes(content: EntryContent | None) -> bytes:
    return b"".join(data for _, data in content.segments()) if content is not None else b""


def _reader(path: str) -> Callable[[bytes], Iterator[Package]] | None:
    if path == "var/lib/dpkg/status" or (path.startswith("var/lib/dpkg/status.d/") and not path.endswith(".md5sums")):
        return _dpkg
    if path in ("lib/apk/db/installed", "usr/lib/apk/db/installed"):
        return _apk
    if path in ("var/lib/rpm/rpmdb.sqlite", "usr/lib/sysimage/rpm/rpmdb.sqlite"):
        return _rpm
    return None


def _dpkg(content: bytes) -> Iterator[Package]:
    for block in content.decode(errors="replace").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and line[0] != " ")
        if fields.get("Package") and "installed" in fields.get("Status", "installed").split():
            yield Package("deb", fields["Package"], fields.get("Version", ""), fields.get("Architecture", ""))


def _apk(content: bytes) -> Iterator[Package]:
    for block in content.decode(errors="replace").split("\n\n"):
        fields = {line[0]: line[2:] for line in block.splitlines() if line[1:2] == ":"}
        if fields.get("P"):
            yield Package("apk", fields["P"], fields.get("V", ""), fields.get("A", ""))


def _rpm(content: bytes) -> Iterator[Package]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rpmdb.sqlite"
        path.write_bytes(content)
        try:
            connection = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
            rows = connection.execute("SELECT blob FROM Packages").fetchall()
            connection.close()
        except sqlite3.Error:
            return
    for (blob,) in rows:
        fields = _rpm_header(blob)
        if fields.get("name") and fields["name"] != "gpg-pubkey":
            version = f"{fields.get('version', '')}-{fields.get('release', '')}"
            yield Package("rpm", fields["name"], version, fields.get("architecture", ""))


def _rpm_header(blob: bytes) -> dict[str, str]:
    """Read a header: numbers of entries and bytes, the entries (tag, type, offset, count), then the bytes."""
    fields: dict[str, str] = {}
    if len(blob) < 8:
        return fields
    count, size = struct.unpack_from(">II", blob)
    data = 8 + 16 * count
    if data > len(blob) or size > len(blob):
        return fields
    for tag, kind, offset, _ in struct.iter_unpack(">IIII", blob[8:data]):
        if tag in RPM_TAGS and kind == _RPM_STRING:
            end = blob.find(b"\0", data + offset)
            fields[RPM_TAGS[tag]] = blob[data + offset : end].decode(errors="replace")
    return fields
