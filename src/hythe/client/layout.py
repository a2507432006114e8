"""An OCI image layout on disk (image specification, "Image Layout"): content by digest, and an index.

FOLDER/oci-layout             {"imageLayoutVersion": "1.0.0"}
FOLDER/index.json             descriptors of manifests, with names as annotations
FOLDER/blobs/sha256/HEX       content, complete and verified: written elsewhere, then renamed
FOLDER/.hythe/partial/HEX     downloads that broke off, to be continued
FOLDER/.hythe/*.lock          see ``file_lock``
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import msgspec

from hythe.client.errors import ContentMismatch, InvalidConfiguration, RemoteNotFound
from hythe.client.file_lock import locked, write_atomically
from hythe.oci.digest import Digest, new_hasher
from hythe.oci.manifest import OCI_INDEX, Descriptor, Index, Manifest

CHUNK_SIZE = 1 << 20
"""Bytes that are read and written at a time."""
MAX_DOCUMENT_SIZE = 16 << 20
"""Most bytes of a manifest or configuration: they are held in memory."""


class ImageLayout:
    """A folder that holds images; several processes may use it at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.work = folder / ".hythe"

    def create(self) -> None:
        """Make the folder an image layout, if it is none yet."""
        (self.folder / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        (self.work / "partial").mkdir(parents=True, exist_ok=True)
        if not (self.folder / "oci-layout").exists():
            write_atomically(self.folder / "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')

    def tidy(self) -> None:
        """Take our own working folder away if nothing is left in it to continue: for layouts that others read."""
        for folder in (self.work / "partial", self.work):
            with suppress(OSError):
                folder.rmdir()

    def blob_path(self, digest: Digest) -> Path:
        """Return where the content with ``digest`` lies, or would."""
        return self.folder / "blobs" / digest.algorithm / digest.hex

    def partial_path(self, digest: Digest) -> Path:
        """Return where a download of ``digest`` lies while it is not complete."""
        return self.work / "partial" / digest.hex

    def has(self, descriptor: Descriptor) -> bool:
        """Whether the content is there, in its full size."""
        try:
            return self.blob_path(descriptor.parsed_digest).stat().st_size == descriptor.size
        except FileNotFoundError:
            return False

    def open_blob(self, digest: Digest) -> BinaryIO:
        """Open content for reading; raises RemoteNotFound."""
        try:
            return self.blob_path(digest).open("rb", buffering=0)
        except FileNotFoundError as error:
            raise RemoteNotFound(f"{digest} is not in {self.folder}", "pull the image again") from error

    def read_document(self, digest: Digest) -> bytes:
        """Return a manifest's or configuration's bytes, verified; raises RemoteNotFound or ContentMismatch."""
        with self.open_blob(digest) as file:
            content = file.read(MAX_DOCUMENT_SIZE + 1)
        if len(content) > MAX_DOCUMENT_SIZE or not digest.matches(content):
            raise ContentMismatch(f"{self.blob_path(digest)} does not hold what its name says", "remove it, pull again")
        return content

    def read_manifest(self, descriptor: Descriptor) -> Manifest:
        """Return the manifest or index that ``descriptor`` points at."""
        return Manifest.parse(self.read_document(descriptor.parsed_digest), descriptor.media_type)

    def new_blob(self, algorithm: str = "sha256") -> "BlobWriter":
        """Return a writer for content whose digest is not known yet."""
        return BlobWriter(self, algorithm)

    def add_blob(self, source: BinaryIO, expected: Digest | None = None) -> tuple[Digest, int]:
        """Store all of ``source``; returns digest and size. Raises ContentMismatch when it is not ``expected``."""
        with self.new_blob(expected.algorithm if expected else "sha256") as writer:
            while chunk := source.read(CHUNK_SIZE):
                writer.write(chunk)
            return writer.commit(expected), writer.size

    def add_document(self, content: bytes) -> Digest:
        """Store a manifest or configuration; returns its digest."""
        digest = Digest.of(content)
        if not self.blob_path(digest).exists():
            self.add_blob(io.BytesIO(content), digest)
        return digest

    def read_index(self) -> Index:
        """Return the index; an empty one when there is none yet. Raises InvalidConfiguration."""
        path = self.folder / "index.json"
        try:
            return parse_index(path.read_bytes())
        except FileNotFoundError:
            return Index(2, OCI_INDEX, ())
        except msgspec.MsgspecError as error:
            raise InvalidConfiguration(f"{path} is not an image index: {error}", "repair or remove it") from error

    @contextmanager
    def changing_index(self) -> Iterator[list[Descriptor]]:
        """Yield the index's descriptors to be changed in place; they are written when the block ends well."""
        self.create()
        with locked(self.folder):
            index = self.read_index()
            descriptors = list(index.manifests)
            yield descriptors
            if tuple(descriptors) != index.manifests or not (self.folder / "index.json").exists():
                changed = msgspec.structs.replace(index, manifests=tuple(descriptors))
                write_atomically(self.folder / "index.json", changed.encode())


def parse_index(content: bytes) -> Index:
    """Return what an ``index.json`` says; older tools leave its media type out. Raises MsgspecError."""
    document = msgspec.json.decode(content, type=dict[str, Any])
    return msgspec.convert({"mediaType": OCI_INDEX} | document, type=Index)


class BlobWriter:
    """Writes content of unknown digest into a layout: write, write, commit; without commit the block leaves nothing."""

    def __init__(self, layout: ImageLayout, algorithm: str) -> None:
        layout.create()
        self._layout = layout
        self._algorithm = algorithm
        self._hasher = new_hasher(algorithm)
        self._path = layout.work / "partial" / f"new-{os.getpid()}-{os.urandom(6).hex()}"
        self._file = self._path.open("xb", buffering=0)
        self.size = 0

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Add ``data``; returns its length in bytes."""
        self._hasher.update(data)
        view = memoryview(data).cast("B")
        while len(view):
            view = view[self._file.write(view) :]
        self.size += memoryview(data).nbytes
        return memoryview(data).nbytes

    @property
    def digest(self) -> Digest:
        """The digest of everything written so far."""
        return Digest(self._algorithm, self._hasher.hexdigest())

    def commit(self, expected: Digest | None = None) -> Digest:
        """Make the content part of the layout, on disk for good; raises ContentMismatch when it is not ``expected``."""
        digest = self.digest
        if expected is not None and digest != expected:
            raise ContentMismatch(f"content has the digest {digest}, not {expected}", "it was damaged on its way")
        os.fsync(self._file.fileno())
        self._file.close()
        target = self._layout.blob_path(digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        self._path.replace(target)
        return digest

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)
