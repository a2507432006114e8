"""An OCI image layout on disk (image specification, "Image Layout"): content by digest, and an index.

FOLDER/oci-layout             {"imageLayoutVersion": "1.0.0"}
FOLDER/index.json             descriptors of manifests, with names as annotations
FOLDER/blobs/sha256/HEX       content, complete and verified: written elsewhere, then renamed
FOLDER/.hythe/partial/HEX     partial downloads, to be resumed
FOLDER/.hythe/*.lock          see ``file_lock``
"""

import errno
import fcntl
import io
import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import msgspec

from hythe.client.disk_space import FILE_HINT, in_megabytes, write_error, writing
from hythe.client.errors import ContentMismatch, InvalidConfiguration, RemoteNotFound
from hythe.client.file_lock import locked, write_atomically
from hythe.oci.digest import Digest, new_hasher
from hythe.oci.manifest import OCI_INDEX, Descriptor, Index, Manifest

CHUNK_SIZE = 1 << 20
"""Bytes per read and write."""
MAX_DOCUMENT_SIZE = 16 << 20
"""Maximum bytes of a manifest or configuration, which is read into memory."""

MAX_INDEX_SIZE = 64 << 20
"""Maximum bytes of a layout's index, which lists every image in it."""

_NEW = "new-"
"""How the names of files begin whose digest is not known yet."""


class NotRegularFile(OSError):
    """A path is a FIFO, a device, a socket or a folder."""


class ImageLayout:
    """An image layout in a folder; several processes can use it at the same time.

    ``space_hint`` tells users what to do if its disk is full.
    """

    space_hint = FILE_HINT

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.work = folder / ".hythe"

    def create(self) -> None:
        """Create the layout if it does not exist."""
        with self.writing_to_disk():
            (self.folder / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
            (self.work / "partial").mkdir(parents=True, exist_ok=True)
            if not (self.folder / "oci-layout").exists():
                write_atomically(self.folder / "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')

    def writing_to_disk(self, size: int = 0) -> AbstractContextManager[None]:
        """Name the folder in the error of a full disk, and the ``size`` in bytes of the blob that does not fit."""
        content = f"a blob of {in_megabytes(size)}" if size else ""
        return writing(self.folder, content=content, hint=self.space_hint)

    def tidy(self) -> None:
        """Remove hythe's working folder unless it has partial downloads: for layouts that other tools read."""
        for folder in (self.work / "partial", self.work):
            with suppress(OSError):
                folder.rmdir()

    def blob_path(self, digest: Digest) -> Path:
        """Return the path of the blob with ``digest``, which need not exist."""
        return self.folder / "blobs" / digest.algorithm / digest.hex

    def partial_path(self, digest: Digest) -> Path:
        """Return the path of the partial download of ``digest``."""
        return self.work / "partial" / digest.hex

    def discard_partials(self) -> None:
        """Delete the partial downloads that no process is working on: on a full disk, they block smaller ones."""
        for path in (self.work / "partial").iterdir():
            if path.name.startswith(_NEW):
                continue  # its writer discards it
            with suppress(FileNotFoundError), path.open("rb") as file, suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()

    def has(self, descriptor: Descriptor) -> bool:
        """Whether the blob exists with its full size."""
        try:
            return self.blob_path(descriptor.parsed_digest).stat().st_size == descriptor.size
        except FileNotFoundError:
            return False

    def open_blob(self, digest: Digest) -> BinaryIO:
        """Open a blob for reading; raises RemoteNotFound."""
        try:
            return open_regular(self.blob_path(digest))
        except FileNotFoundError as error:
            raise RemoteNotFound(f"blob {digest} is missing in {self.folder}", "pull the image again") from error

    def read_document(self, digest: Digest) -> bytes:
        """Return a manifest or configuration, verified; raises RemoteNotFound or ContentMismatch."""
        with self.open_blob(digest) as file:
            content = file.read(MAX_DOCUMENT_SIZE + 1)
        if len(content) > MAX_DOCUMENT_SIZE or not digest.matches(content):
            raise ContentMismatch(
                f"blob {digest} in {self.folder} does not match its digest", "remove the image and pull it again"
            )
        return content

    def read_manifest(self, descriptor: Descriptor) -> Manifest:
        """Return the manifest or index of ``descriptor``."""
        return Manifest.parse(self.read_document(descriptor.parsed_digest), descriptor.media_type)

    def new_blob(self, algorithm: str = "sha256") -> "BlobWriter":
        """Return a writer for a blob whose digest is not known yet."""
        return BlobWriter(self, algorithm)

    def add_blob(self, source: BinaryIO, expected: Digest | None = None) -> tuple[Digest, int]:
        """Store all of ``source``; returns digest and size. Raises ContentMismatch if it is not ``expected``."""
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
        """Return the index, an empty one if it does not exist. Raises InvalidConfiguration."""
        path = self.folder / "index.json"
        try:
            with open_regular(path) as file:
                content = file.read(MAX_INDEX_SIZE + 1)
        except FileNotFoundError:
            return Index(2, OCI_INDEX, ())
        if len(content) > MAX_INDEX_SIZE:
            raise InvalidConfiguration(f"{path} has more than {MAX_INDEX_SIZE >> 20} MiB", "correct or remove it")
        try:
            return parse_index(content)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidConfiguration(f"{path} is not an image index: {error}", "correct or remove it") from error

    @contextmanager
    def changing_index(self) -> Iterator[list[Descriptor]]:
        """Yield the index's descriptors for modification; they are written if the block does not raise."""
        self.create()
        with locked(self.folder):
            index = self.read_index()
            descriptors = list(index.manifests)
            yield descriptors
            if tuple(descriptors) != index.manifests or not (self.folder / "index.json").exists():
                changed = msgspec.structs.replace(index, manifests=tuple(descriptors))
                with self.writing_to_disk():
                    write_atomically(self.folder / "index.json", changed.encode())


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading. Raises NotRegularFile, without waiting for a FIFO's writer, and other OSErrors."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket
            raise NotRegularFile(f"{path.name} is not a regular file") from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotRegularFile(f"{path.name} is not a regular file")
    return os.fdopen(descriptor, "rb", buffering=0)


def parse_index(content: bytes) -> Index:
    """Parse an ``index.json``, where older tools omit the media type, or write ``null``. Raises MsgspecError."""
    document = msgspec.json.decode(content, type=dict[str, Any])
    given = {name: value for name, value in document.items() if value is not None}
    empty: dict[str, Any] = {"manifests": []} if "manifests" in document else {}
    return msgspec.convert({"mediaType": OCI_INDEX} | empty | given, type=Index)


class BlobWriter:
    """Writes a blob of unknown digest into a layout; a context manager that discards it unless ``commit`` is called."""

    def __init__(self, layout: ImageLayout, algorithm: str) -> None:
        layout.create()
        self._layout = layout
        self._algorithm = algorithm
        self._hasher = new_hasher(algorithm)
        self._path = layout.work / "partial" / f"{_NEW}{os.getpid()}-{os.urandom(6).hex()}"
        with layout.writing_to_disk():
            self._file = self._path.open("xb", buffering=0)
        self.size = 0

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Add ``data``; returns its length in bytes."""
        self._hasher.update(data)
        view = memoryview(data).cast("B")
        try:
            while len(view):
                view = view[self._file.write(view) :]
        except OSError as error:
            raise write_error(error, self._layout.folder, hint=self._layout.space_hint) from error
        self.size += memoryview(data).nbytes
        return memoryview(data).nbytes

    @property
    def digest(self) -> Digest:
        """The digest of the bytes written so far."""
        return Digest(self._algorithm, self._hasher.hexdigest())

    def commit(self, expected: Digest | None = None) -> Digest:
        """Sync the blob to disk and add it to the layout; raises ContentMismatch if it is not ``expected``."""
        digest = self.digest
        if expected is not None and digest != expected:
            raise ContentMismatch(
                f"content has digest {digest}, expected {expected}", "it was damaged in transfer: try again"
            )
        target = self._layout.blob_path(digest)
        with self._layout.writing_to_disk(self.size):
            os.fsync(self._file.fileno())
            self._file.close()
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
