"""The file of one upload: locked, written in batches, hashed as it is written.

Everything here blocks and is called in threads, one call at a time; it raises OSError and the port's errors.
"""

import ctypes
import errno
import fcntl
import io
import os
from collections.abc import Sequence
from pathlib import Path

from hythe.oci.digest import Digest, Hasher, new_hasher
from hythe.registry.storage.disk import make_folder, sync_folder
from hythe.registry.storage.port import DigestMismatch, UploadBusy, UploadLost

READ_SIZE = 1024 * 1024
"""Bytes that are read at once to be hashed."""

WRITE_OUT = 8 * 1024 * 1024
"""Bytes after which the kernel is told to begin writing them to the disk, instead of all at the last sync."""

KEPT_CACHED = 4 * WRITE_OUT
"""Bytes at the end of an upload that stay in the page cache. The rest is dropped from it once it is on the disk: it
saves the kernel from finding new memory (1 GiB in 0.45 s instead of 0.65 to 3 s), and blobs that are being pulled
from being pushed out. O_DIRECT was no faster in all, as it wants every byte copied to an aligned place first."""

_MOST_PIECES = 1024
"""The most pieces that one pwritev takes (IOV_MAX)."""

_WAIT_BEFORE, _WRITE, _WAIT_AFTER = 1, 2, 4
"""Flags of sync_file_range(2)."""

_LIBC = ctypes.CDLL(None, use_errno=True)


class UploadFile:
    """An upload file with ``offset`` good bytes, opened by the first call that needs it; what lies behind falls away.

    ``hasher`` has seen all bytes up to ``offset``, or is None when nobody in this process has seen them all.
    """

    def __init__(self, path: Path, offset: int, hasher: Hasher | None, *, shared: bool = True) -> None:
        """``shared``: another request may know the path, too, and the file is locked against it."""
        self.path = path
        self._shared = shared
        self.offset = offset
        self.hasher = hasher
        self._file: io.FileIO | None = None
        self._created = False
        self._written_out = offset

    def write(self, pieces: Sequence[bytes]) -> None:
        """Write and hash the next bytes."""
        descriptor = self._opened()
        for first in range(0, len(pieces), _MOST_PIECES):
            self._write_pieces(descriptor, pieces[first : first + _MOST_PIECES])
        if self.hasher is not None:
            for piece in pieces:
                self.hasher.update(piece)
        while self.offset - self._written_out >= WRITE_OUT:
            self._write_out(descriptor)

    def _write_out(self, descriptor: int) -> None:
        _sync_range(descriptor, self._written_out, WRITE_OUT, _WRITE)
        self._written_out += WRITE_OUT
        old = self._written_out - KEPT_CACHED - WRITE_OUT
        if old >= 0:
            _sync_range(descriptor, old, WRITE_OUT, _WAIT_BEFORE | _WRITE | _WAIT_AFTER)
            os.posix_fadvise(descriptor, old, WRITE_OUT, os.POSIX_FADV_DONTNEED)

    def _write_pieces(self, descriptor: int, pieces: Sequence[bytes]) -> None:
        end = self.offset + sum(map(len, pieces))
        self.offset += os.pwritev(descriptor, pieces, self.offset)
        while self.offset < end:
            rest = memoryview(b"".join(pieces))[self.offset - end :]
            self.offset += os.pwrite(descriptor, rest, self.offset)

    def seal(self) -> None:
        """Make the bytes, and the file's name as an upload, survive a power cut, and close."""
        os.fdatasync(self._opened())
        if self._created:
            sync_folder(self.path.parent)
        self.close()

    def publish(self, digest: Digest, blob: Path) -> None:
        """Check the digest, give the file the name ``blob`` so that it survives a power cut, and close.

        It replaces a blob that is there, which heals one that has rotted. Raises DigestMismatch.
        """
        self.check(digest)
        os.fdatasync(self.descriptor)
        self.place(blob)
        sync_folder(blob.parent)

    def check(self, digest: Digest) -> None:
        """Raise DigestMismatch, and remove the file, when it has not this digest."""
        if self._hexdigest(self.descriptor, digest.algorithm) != digest.hex:
            self.remove()
            raise DigestMismatch(f"the bytes sent are not those of {digest}; the upload was dropped: send it anew")

    def place(self, blob: Path) -> None:
        """Give the synced file the name ``blob``, and close. The folder of that name is synced by the caller."""
        self._rename(blob)
        self.close()

    def _rename(self, blob: Path) -> None:
        try:
            self.path.rename(blob)
        except FileNotFoundError:
            if self.path.parent.is_dir() and not self.path.exists():
                raise UploadLost(f"the bytes of upload {self.path.name} are gone: start anew") from None
            make_folder(blob.parent)
            self.path.rename(blob)

    def _hexdigest(self, descriptor: int, algorithm: str) -> str:
        if self.hasher is not None and algorithm == self.hasher.name:
            return self.hasher.hexdigest()
        hasher = new_hasher(algorithm)
        for position in range(0, self.offset, READ_SIZE):
            hasher.update(os.pread(descriptor, READ_SIZE, position))
        return hasher.hexdigest()

    def roll_back(self, offset: int) -> None:
        """Drop what was written after ``offset``: it is not known to be on the disk."""
        self.offset = offset
        self.hasher = None
        os.ftruncate(self._opened(), offset)

    def remove(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)

    @property
    def descriptor(self) -> int:
        """The open file's number."""
        return self._opened()

    @property
    def is_open(self) -> bool:
        """Whether the file is open, and locked."""
        return self._file is not None

    def close(self) -> None:
        """Let go of the file and its lock."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _opened(self) -> int:
        if self._file is None:
            self._file = self._open() if self._shared else io.FileIO(self.path, "xb+")
        return self._file.fileno()

    def _open(self) -> io.FileIO:
        create = self.offset == 0
        self._created = create and not self.path.exists()
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o644)
        except FileNotFoundError:
            if not self.path.parent.is_dir():
                raise
            raise UploadLost(f"the bytes of upload {self.path.name} are gone: start anew") from None
        file = io.FileIO(descriptor, "r+")
        _lock(file, self.path)
        self._cut(descriptor)
        return file

    def _cut(self, descriptor: int) -> None:
        size = os.fstat(descriptor).st_size
        if size < self.offset:
            raise UploadLost(f"upload {self.path.name} has only {size} of {self.offset} bytes: start anew")
        if size > self.offset:
            os.ftruncate(descriptor, self.offset)


def _sync_range(descriptor: int, offset: int, size: int, flags: int) -> None:
    """Call sync_file_range(2). An error told here is not told again by fdatasync, so it counts."""
    if _LIBC.sync_file_range(descriptor, ctypes.c_int64(offset), ctypes.c_int64(size), ctypes.c_uint(flags)):
        code = ctypes.get_errno()
        if code not in (errno.ENOSYS, errno.EINVAL, errno.ESPIPE):
            raise OSError(code, os.strerror(code))


def _lock(file: io.FileIO, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UploadBusy(f"upload {path.name} is being written by another request: ask again later") from None
    # Whoever held the lock before may have made a blob of this very file, which must never be written to again.
    if not _is_still(file, path):
        raise UploadBusy(f"upload {path.name} was just ended by another request: ask again later")


def _is_still(file: io.FileIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
