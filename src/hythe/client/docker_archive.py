"""Reading and writing ``docker save`` archives.

Written archives are an OCI layout (``oci-layout``, ``index.json``, ``blobs/``), as since Docker 25, with the
``manifest.json`` that older versions, podman and skopeo read. They are reproducible. The reader supports both formats,
the one before Docker 25 with an uncompressed layer per folder, and that of 2013 to 2015 (``legacy_archive``).
"""

import bz2
import contextlib
import gzip
import io
import json
import lzma
import posixpath
import shutil
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from hythe.client.disk_space import TEMPORARY_HINT, in_megabytes, writing
from hythe.client.errors import ClientError, ContentMismatch
from hythe.client.image_tree import choose_in_tree, walk_tree
from hythe.client.layer_compression import compress_layer
from hythe.client.layout import CHUNK_SIZE, MAX_DOCUMENT_SIZE, ImageLayout, parse_index
from hythe.client.legacy_archive import LegacyImage, LegacyReader, is_legacy
from hythe.client.platforms import choose_representative, is_attestation
from hythe.client.store import NAME_KEY
from hythe.oci.config import ImageConfig
from hythe.oci.digest import Digest
from hythe.oci.errors import InvalidReference, OCIError
from hythe.oci.layer import BoundedTarInfo
from hythe.oci.manifest import (
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    OCI_MANIFEST,
    Descriptor,
    ImageManifest,
    Index,
    Manifest,
    ManifestKind,
)
from hythe.oci.reference import Reference

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CONTAINERD_NAME_KEY = "io.containerd.image.name"
_MAGIC = {b"\x1f\x8b": OCI_LAYER_GZIP, b"\x28\xb5\x2f\xfd": OCI_LAYER_ZSTD}
_UNPACKERS: dict[bytes, Callable[[BinaryIO], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
    b"\x28\xb5\x2f\xfd": zstd.open,
}


MAX_MEMBERS = 100_000
"""Files in an archive, whose names are kept in memory; an image has about a dozen."""
_INVALID = (
    tarfile.TarError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    OCIError,
    msgspec.MsgspecError,
    RecursionError,
)
"""What reading an archive raises that is not what it claims to be."""


class ArchivedImage(msgspec.Struct, frozen=True):
    """An image in an archive, with its names there."""

    descriptor: Descriptor
    names: tuple[Reference, ...] = ()


class InvalidArchive(ClientError):
    """The file is not an archive of images."""


# Writing


def save_archive(path: Path, layout: ImageLayout, images: Sequence[ArchivedImage]) -> None:
    """Write images to a file, atomically; raises the same errors as ``write_archive``, and DiskFull."""
    path = path.resolve()
    if path.exists() and not path.is_file():  # do not replace a device or pipe
        with writing(path), path.open("wb") as file:
            write_archive(file, layout, images)
        return
    partial = path.with_name(f".{path.name}.partial")
    blobs, rows = _contents(layout, images)
    try:
        with writing(path, content=f"an archive of {in_megabytes(sum(blobs.values()))}"), partial.open("wb") as file:
            _write(file, layout, images, blobs, rows)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_archive(file: BinaryIO, layout: ImageLayout, images: Sequence[ArchivedImage]) -> None:
    """Write images in ``layout`` to ``file``, which need not be seekable.

    Raises RemoteNotFound for missing blobs, ContentMismatch for damaged ones.
    """
    _write(file, layout, images, *_contents(layout, images))


def _contents(layout: ImageLayout, images: Sequence[ArchivedImage]) -> tuple[dict[Digest, int], list[dict[str, Any]]]:
    """Return the sizes of the blobs to write, and the rows of manifest.json."""
    blobs: dict[Digest, int] = {}
    rows = [row for image in images if (row := _add(layout, image, blobs))]
    return blobs, rows


def _write(
    file: BinaryIO,
    layout: ImageLayout,
    images: Sequence[ArchivedImage],
    blobs: dict[Digest, int],
    rows: list[dict[str, Any]],
) -> None:
    index = Index(2, OCI_INDEX, tuple(d for image in images for d in _named_descriptors(image))).encode()
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.USTAR_FORMAT, bufsize=CHUNK_SIZE) as archive:
        _add_document(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        _add_document(archive, "index.json", index)
        _add_document(archive, "manifest.json", json.dumps(rows, separators=(",", ":")).encode())
        for digest, size in sorted(blobs.items()):
            _add_blob(archive, layout, digest, size)


def _add(layout: ImageLayout, image: ArchivedImage, blobs: dict[Digest, int]) -> dict[str, Any] | None:
    """Collect an image's blobs; returns its row in manifest.json, None for an index without stored images."""
    root = layout.read_manifest(image.descriptor)
    is_there = False
    for manifest in walk_tree(root, lambda child: layout.read_manifest(child) if layout.has(child) else None):
        blobs[manifest.digest()] = len(manifest.content)
        blobs.update((blob.parsed_digest, blob.size) for blob in manifest.blobs)
        is_there = is_there or manifest.kind is ManifestKind.IMAGE

    def choose(index: Manifest) -> Descriptor:
        return choose_representative([child for child in index.manifests if layout.has(child)])

    # For readers of manifest.json, an index is the image that this machine would run.
    shown = choose_in_tree(root, choose, layout.read_manifest) if is_there else root
    if shown.config is None:
        return None
    return {
        "Config": _blob_name(shown.config.parsed_digest),
        "RepoTags": [name.familiar() for name in image.names] or None,
        "Layers": [_blob_name(layer.parsed_digest) for layer in shown.layers],
    }


def _named_descriptors(image: ArchivedImage) -> Iterator[Descriptor]:
    for name in image.names or (None,):
        annotations = {CONTAINERD_NAME_KEY: str(name), NAME_KEY: name.tag or ""} if name else {}
        yield msgspec.structs.replace(image.descriptor, annotations=annotations)


def _blob_name(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"


def _add_blob(archive: tarfile.TarFile, layout: ImageLayout, digest: Digest, size: int) -> None:
    with layout.open_blob(digest) as blob:
        verified = _Verified(blob, digest, size)
        archive.addfile(_member(_blob_name(digest), size), verified)


class _Verified:
    """A stored blob that is verified while it is read; raises ContentMismatch at the end."""

    def __init__(self, file: BinaryIO, digest: Digest, size: int) -> None:
        self._file = file
        self._digest = digest
        self._hasher = digest.hasher()
        self._left = size

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(size)
        self._hasher.update(content)
        self._left -= len(content)
        if len(content) < size or (not self._left and self._hasher.hexdigest() != self._digest.hex):
            raise ContentMismatch(
                f"blob {self._digest} in the store does not match its digest", "remove the image and pull it again"
            )
        return content


def _add_document(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    archive.addfile(_member(name, len(content)), io.BytesIO(content))


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size
    return member


# Reading


def read_archive(file: BinaryIO, layout: ImageLayout) -> list[ArchivedImage]:
    """Store all images of an archive, which can be compressed, in ``layout``; raises InvalidArchive, ContentMismatch.

    The caller names the images.
    """
    with _seekable(file) as plain:
        try:
            with tarfile.open(fileobj=plain, mode="r:", tarinfo=BoundedTarInfo) as archive:
                return list(_Reader(archive, layout).images())
        except _INVALID as error:
            raise InvalidArchive(
                f"not an archive of images: {error}", "use a file written by 'hythe save' or 'docker save'"
            ) from error


@contextlib.contextmanager
def _seekable(file: BinaryIO) -> Iterator[BinaryIO]:
    """Yield ``file`` uncompressed and seekable, through a temporary file if necessary."""
    with contextlib.ExitStack() as stack:
        if not file.seekable():
            file = stack.enter_context(_spooled(file))
        if packed := _unpacked(file):
            with _decompressing():
                file = stack.enter_context(_spooled(packed))
        yield file


@contextlib.contextmanager
def _decompressing() -> Iterator[None]:
    """Raise InvalidArchive for damaged compressed data."""
    try:
        yield
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zstd.ZstdError) as error:
        if getattr(error, "errno", None):
            raise  # an error of the disk, not of the archive
        raise InvalidArchive(f"the archive is damaged: {error}", "save it again") from error


@contextlib.contextmanager
def _spooled(file: BinaryIO) -> Iterator[BinaryIO]:
    temporary = Path(tempfile.gettempdir())
    with tempfile.TemporaryFile() as spool:
        with writing(temporary, content="the unpacked archive", hint=TEMPORARY_HINT):
            shutil.copyfileobj(file, spool, CHUNK_SIZE)
            spool.flush()
        spool.seek(0)
        yield spool


def _unpacked(file: BinaryIO) -> BinaryIO | None:
    """Return a decompressing reader, for the formats that ``docker load`` supports; None if not compressed."""
    magic = file.read(6)
    file.seek(0)
    found = (unpack for beginning, unpack in _UNPACKERS.items() if magic.startswith(beginning))
    unpack = next(found, None)
    return unpack(file) if unpack else None


class _Reader:
    def __init__(self, archive: tarfile.TarFile, layout: ImageLayout) -> None:
        self._archive = archive
        self._layout = layout
        self._members: dict[str, tarfile.TarInfo] = {}
        for member in archive:
            if len(self._members) == MAX_MEMBERS:
                raise InvalidArchive(f"the archive has more than {MAX_MEMBERS} files", "save fewer images at once")
            self._members[posixpath.normpath(member.name)] = member

    def images(self) -> Iterator[ArchivedImage]:
        rows = json.loads(self._read("manifest.json")) if "manifest.json" in self._members else []
        if "index.json" in self._members:
            yield from self._of_layout(rows)
        elif rows:
            yield from map(self._of_row, rows)
        elif is_legacy(self._members):
            reader = LegacyReader(self._members, self._read, self._unverified_layer)
            yield from map(self._of_legacy, reader.images())
        else:
            raise InvalidArchive(
                "not an archive of images: no index.json, manifest.json or repositories",
                "use a file written by 'hythe save' or 'docker save'",
            )

    # As Docker writes since 25, and skopeo as oci-archive

    def _of_layout(self, rows: Sequence[dict[str, Any]]) -> Iterator[ArchivedImage]:
        by_config = {posixpath.basename(row["Config"]): _references(row.get("RepoTags") or ()) for row in rows}
        found: dict[str, ArchivedImage] = {}
        index = parse_index(self._read("index.json"))
        for descriptor in [one for one in index.manifests if not is_attestation(one)] or index.manifests:
            configs = self._store(descriptor)
            names = _annotated_names(descriptor) or next((by_config[c] for c in configs if c in by_config), ())
            plain = msgspec.structs.replace(descriptor, annotations={})
            earlier = found.get(descriptor.digest, ArchivedImage(plain))
            found[descriptor.digest] = ArchivedImage(plain, tuple(dict.fromkeys((*earlier.names, *names))))
        yield from found.values()

    def _store(self, descriptor: Descriptor) -> list[str]:
        """Store a manifest with its children and blobs; returns the hex digests of the configurations."""
        configs = []
        for manifest in walk_tree(self._manifest(descriptor), self._child):
            self._layout.add_document(manifest.content)
            configs += [manifest.config.parsed_digest.hex] if manifest.config else []
            for blob in manifest.blobs:
                if not self._layout.has(blob):
                    self._layout.add_blob(self._open(_blob_name(blob.parsed_digest)), blob.parsed_digest)
        return configs

    def _child(self, descriptor: Descriptor) -> Manifest | None:
        """Return a manifest that an index lists; None if the archive has only other platforms."""
        return self._manifest(descriptor) if _blob_name(descriptor.parsed_digest) in self._members else None

    def _manifest(self, descriptor: Descriptor) -> Manifest:
        content = self._read(_blob_name(descriptor.parsed_digest))
        if not descriptor.parsed_digest.matches(content):
            raise ContentMismatch(
                f"manifest {descriptor.digest} in the archive does not match its digest", "save it again"
            )
        return Manifest.parse(content, descriptor.media_type)

    # As Docker wrote until 24, and podman and skopeo do as docker-archive

    def _of_row(self, row: dict[str, Any]) -> ArchivedImage:
        config = self._read(row["Config"])
        diff_ids = ImageConfig.parse(config).rootfs.diff_ids
        names = row["Layers"] or ()  # null for an image without layers
        if len(diff_ids) != len(names):
            raise InvalidArchive(f"invalid image: {len(names)} layers, but {len(diff_ids)} diff IDs", "save it again")
        layers = tuple(map(self._layer, names, diff_ids))
        return self._with_manifest(config, layers, row.get("RepoTags") or ())

    def _with_manifest(self, config: bytes, layers: tuple[Descriptor, ...], names: Sequence[str]) -> ArchivedImage:
        descriptor = Descriptor(OCI_CONFIG, str(self._layout.add_document(config)), len(config))
        manifest = ImageManifest(2, OCI_MANIFEST, descriptor, layers).encode()
        root = Descriptor(OCI_MANIFEST, str(self._layout.add_document(manifest)), len(manifest))
        return ArchivedImage(root, _references(names))

    def _layer(self, name: str, diff_id: str) -> Descriptor:
        """Store a layer; compresses it with gzip unless it is compressed already."""
        with self._open(name) as file:
            magic = file.read(4)
            file.seek(0)
            for beginning, media_type in _MAGIC.items():
                if magic.startswith(beginning):
                    digest, size = self._layout.add_blob(file)
                    return Descriptor(media_type, str(digest), size)
            descriptor, found = compress_layer(file, self._layout)
        if str(found) != diff_id:
            raise ContentMismatch(
                f"layer {name} of the archive is damaged: diff ID {found}, expected {diff_id}", "save it again"
            )
        return descriptor

    # As Docker wrote until 1.9

    def _of_legacy(self, image: LegacyImage) -> ArchivedImage:
        ImageConfig.parse(image.config)
        return self._with_manifest(image.config, image.layers, image.names)

    def _unverified_layer(self, name: str) -> tuple[Descriptor, Digest]:
        """Store a layer of unknown diff ID, which can be compressed."""
        with self._open(name) as file, _decompressing():
            return compress_layer(_unpacked(file) or file, self._layout)

    def _open(self, name: str) -> BinaryIO:
        member = self._members.get(posixpath.normpath(name))
        file = self._archive.extractfile(member) if member else None
        if file is None:
            raise InvalidArchive(f"the archive does not contain {name}", "save it again")
        return file  # type: ignore[return-value]

    def _read(self, name: str) -> bytes:
        with self._open(name) as file:
            content = file.read(MAX_DOCUMENT_SIZE + 1)
        if len(content) > MAX_DOCUMENT_SIZE:
            raise InvalidArchive(f"{name} in the archive has more than {MAX_DOCUMENT_SIZE >> 20} MiB", "save it again")
        return content


def _annotated_names(descriptor: Descriptor) -> tuple[Reference, ...]:
    full = descriptor.annotations.get(CONTAINERD_NAME_KEY) or descriptor.annotations.get(NAME_KEY, "")
    return _references([full] if ":" in full else [])


def _references(names: Sequence[str]) -> tuple[Reference, ...]:
    references = []
    for name in names:
        with contextlib.suppress(InvalidReference):
            references.append(Reference.parse(name).with_default_tag())
    return tuple(references)
