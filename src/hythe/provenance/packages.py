"""Reads the package databases in an image's layers: dpkg, apk, rpm (SQLite format) and Python."""

import contextlib
import io
import re
import sqlite3
import struct
import tempfile
from collections.abc import Callable, Iterator
from itertools import accumulate, islice
from typing import Any, BinaryIO, cast

import msgspec
from isal import igzip

from hythe.client.errors import ContentMismatch
from hythe.client.layout import CHUNK_SIZE, ImageLayout
from hythe.oci.digest import Digest
from hythe.oci.layer import EntryContent, EntryKind, LayerEntry, Opaque, Whiteout, read_layer
from hythe.oci.manifest import Descriptor

MAX_DATABASE_SIZE = 256 << 20
"""Maximum bytes of a package database; larger ones are left out."""
MAX_TOTAL_SIZE = 1 << 30
"""Maximum bytes of all databases in all layers together."""
MAX_DATABASES = 10_000
MAX_PACKAGES = 50_000
MAX_FIELD_LENGTH = 256
MAX_LINE_LENGTH = 64 << 10
"""Maximum bytes of a line of a database; the rest of a longer line is skipped."""
MAX_DEPTH = 12
MAX_PATH_LENGTH = 256
"""Maximum folders and characters of a Python package's path; others are not looked at."""
MAX_NOTES = 20
RPM_TAGS = {1000: "name", 1001: "version", 1002: "release", 1022: "architecture"}
MAX_RPM_HEADER_SIZE = 8 << 20
_RPM_STRING = 6
_DPKG_FILE = re.compile(r"var/lib/dpkg/status\.d/[^/]+(?<!\.md5sums)")
_PYTHON_METADATA = (".dist-info/METADATA", ".egg-info/PKG-INFO")


class Package(msgspec.Struct, frozen=True, order=True):
    """An installed package; ``kind`` is its type in package URLs: deb, apk, rpm or pypi."""

    kind: str
    name: str
    version: str
    architecture: str


class InstalledPackages(msgspec.Struct, frozen=True):
    """The packages of an image, sorted, and what was left out because of a limit: a sentence for each."""

    packages: tuple[Package, ...]
    left_out: tuple[str, ...] = ()


def installed_packages(layout: ImageLayout, image: Descriptor) -> InstalledPackages:
    """Return the installed packages according to the databases in the image's layers.

    Needs little memory, whatever the layers contain.
    """
    found = _Databases()
    for layer in layout.read_manifest(image).layers:
        if layer.media_type.endswith("gzip"):
            with layout.open_blob(layer.parsed_digest) as file:
                verified = _VerifiedReader(file, layer.parsed_digest)
                with _decompress(cast(BinaryIO, verified)) as stream:
                    found.apply(stream)
                verified.finish()
        else:
            found.leave_out(f"the layer {layer.digest} is not compressed with gzip")
    return found.result()


class _Databases:
    """The packages of each database so far."""

    def __init__(self) -> None:
        self._found: dict[str, list[Package]] = {}
        self._below: dict[str, set[str]] = {}
        self._count = 0
        self._left = MAX_TOTAL_SIZE
        self._left_out: list[str] = []

    def leave_out(self, note: str) -> None:
        """Record what is left out, and why."""
        if note not in self._left_out and len(self._left_out) <= MAX_NOTES:
            self._left_out.append(note if len(self._left_out) < MAX_NOTES else "and more")

    def apply(self, stream: BinaryIO) -> None:
        """Apply one layer to the databases known so far."""
        for member, content in read_layer(stream):
            match member:
                case Whiteout(path) | Opaque(path):
                    self._forget(path)
                case LayerEntry(path=path, kind=EntryKind.FILE, size=size) if reader := _reader(path):
                    self._forget(path)
                    if content is not None and self._has_room(path, size):
                        self._left -= size
                        self._read(path, reader(content, size))

    def _forget(self, path: str) -> None:
        """Forget the database at ``path``, or all below it; the empty path is the root."""
        for each in (path, *self._below.pop(path, ())):
            self._count -= len(self._found.pop(each, ()))

    def _has_room(self, path: str, size: int) -> bool:
        shown = path[:MAX_FIELD_LENGTH]
        if size > MAX_DATABASE_SIZE:
            self.leave_out(f"{shown} has {size} bytes, more than {MAX_DATABASE_SIZE >> 20} MiB")
        elif size > self._left:
            self.leave_out(f"{shown}: the databases have more than {MAX_TOTAL_SIZE >> 20} MiB together")
        elif len(self._found) >= MAX_DATABASES:
            self.leave_out(f"the image has more than {MAX_DATABASES} databases")
        else:
            return True
        return False

    def _read(self, path: str, packages: Iterator[Package]) -> None:
        known = self._found[path] = []
        for parent in ("", *accumulate(path.split("/")[:-1], "{}/{}".format)):
            self._below.setdefault(parent, set()).add(path)
        for package in packages:
            if self._count >= MAX_PACKAGES:
                self.leave_out(f"the image has more than {MAX_PACKAGES} packages")
                return
            known.append(package)
            self._count += 1

    def result(self) -> InstalledPackages:
        """Return what was found."""
        packages = {package for found in self._found.values() for package in found}
        return InstalledPackages(tuple(sorted(packages)), tuple(self._left_out))


class _VerifiedReader(io.RawIOBase):
    """Reads a blob that a build could change after it was exported, and checks that it is still the image's."""

    def __init__(self, file: BinaryIO, digest: Digest) -> None:
        super().__init__()
        self._file = file
        self._digest = digest
        self._hasher = digest.hasher()

    def readable(self) -> bool:
        """Whether it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into ``buffer``; return the number of bytes, 0 at the end."""
        content = self._file.read(len(buffer))
        buffer[: len(content)] = content
        self._hasher.update(content)
        return len(content)

    def finish(self) -> None:
        """Read the rest. Raises ContentMismatch if the content does not match its digest."""
        while content := self._file.read(CHUNK_SIZE):
            self._hasher.update(content)
        if self._hasher.hexdigest() != self._digest.hex:
            raise ContentMismatch(f"layer {self._digest} does not match its digest", "let no hook change the image")


def _decompress(compressed: BinaryIO) -> BinaryIO:
    return cast(BinaryIO, igzip.IGzipFile(fileobj=compressed, mode="rb"))  # type: ignore[no-untyped-call]


def _reader(path: str) -> Callable[[EntryContent, int], Iterator[Package]] | None:
    if path == "var/lib/dpkg/status" or _DPKG_FILE.fullmatch(path):
        return _dpkg
    if path in ("lib/apk/db/installed", "usr/lib/apk/db/installed"):
        return _apk
    if path in ("var/lib/rpm/rpmdb.sqlite", "usr/lib/sysimage/rpm/rpmdb.sqlite"):
        return _rpm
    if path.endswith(_PYTHON_METADATA) and len(path) <= MAX_PATH_LENGTH and path.count("/") <= MAX_DEPTH:
        return _python
    return None


def _dpkg(content: EntryContent, _size: int) -> Iterator[Package]:
    for block in _blocks(content, ": "):
        if block.get("Package") and "installed" in block.get("Status", "installed").split():
            yield Package("deb", block["Package"], block.get("Version", ""), block.get("Architecture", ""))


def _apk(content: EntryContent, _size: int) -> Iterator[Package]:
    for block in _blocks(content, ":"):
        if block.get("P"):
            yield Package("apk", block["P"], block.get("V", ""), block.get("A", ""))


def _python(content: EntryContent, _size: int) -> Iterator[Package]:
    fields = next(_blocks(content, ": "), {})  # the description follows
    if fields.get("Name"):
        yield Package("pypi", re.sub(r"[-_.]+", "-", fields["Name"]).lower(), fields.get("Version", ""), "")


_FIELDS = {"Name", "Package", "Status", "Version", "Architecture", "P", "V", "A"}


def _blocks(content: EntryContent, separator: str) -> Iterator[dict[str, str]]:
    """Yield the fields that are needed of each paragraph."""
    block: dict[str, str] = {}
    for line in _lines(content):
        if not line.strip():
            if block:
                yield block
            block = {}
            continue
        name, found, value = line.partition(separator)
        if found and name in _FIELDS:
            block[name] = value.strip()[:MAX_FIELD_LENGTH]
    if block:
        yield block


def _lines(content: EntryContent) -> Iterator[str]:
    """Yield the lines of a file, which are cut at MAX_LINE_LENGTH."""
    rest = b""
    for _, data in content.segments():
        *lines, last = data.split(b"\n")
        for number, line in enumerate(lines):
            full = line[:MAX_LINE_LENGTH] if number else rest + line[: MAX_LINE_LENGTH - len(rest)]
            yield full.decode(errors="replace")
        rest = last[:MAX_LINE_LENGTH] if lines else rest + last[: MAX_LINE_LENGTH - len(rest)]
    yield rest.decode(errors="replace")


def _rpm(content: EntryContent, size: int) -> Iterator[Package]:
    """Read a database through a file, because SQLite needs one."""
    with tempfile.NamedTemporaryFile(suffix=".sqlite") as file:
        for offset, data in content.segments():
            file.seek(offset)
            file.write(data)
        file.truncate(size)
        file.flush()
        try:
            connection = sqlite3.connect(f"file:{file.name}?mode=ro&immutable=1", uri=True)
            with contextlib.closing(connection):
                connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_RPM_HEADER_SIZE)
                connection.execute("PRAGMA trusted_schema = OFF")
                for (blob,) in islice(connection.execute("SELECT blob FROM Packages"), MAX_PACKAGES):
                    fields = _rpm_header(blob if isinstance(blob, bytes) else b"")
                    if fields.get("name") and fields["name"] != "gpg-pubkey":
                        version = f"{fields.get('version', '')}-{fields.get('release', '')}"
                        yield Package("rpm", fields["name"], version, fields.get("architecture", ""))
        except sqlite3.Error:
            return


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
            text = blob[data + offset : data + offset + MAX_FIELD_LENGTH].partition(b"\0")[0]
            fields[RPM_TAGS[tag]] = text.decode(errors="replace")
    return fields
