"""The file of one upload: locked, written in batches, and hashed while it is written.

All methods block and run in threads, one call at a time. They raise OSError and the port's errors.
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
"""Bytes to read at a time for hashing."""

WRITEBACK_SIZE = 8 * 1024 * 1024
"""Bytes after which the kernel starts to write them to disk, instead of writing all in the final sync."""

KEPT_IN_PAGE_CACHE = 4 * WRITEBACK_SIZE
"""Bytes at the end of an upload that stay in the page cache. The rest is dropped once it is on disk.

Then the kernel need not find new memory (1 GiB in 0.45 s instead of 0.65 to 3 s), and blobs that are being pulled stay
cached. O_DIRECT was no faster overall, since it requires copying every byte to an aligned buffer.
"""

_MAX_PIECES = 1024
"""Maximum number of pieces in one pwritev (IOV_MAX)."""

_WAIT_BEFORE, _WRITE, _WAIT_AFTER = 1, 2, 4
"""Flags of sync_file_range(2)."""

_LIBC = ctypes.CDLL(None, use_errno=True)


class UploadFile:
    """An upload file with ``offset`` valid bytes, opened by the first call that needs it; discards bytes after them.

    ``hasher`` has processed all bytes up to ``offset``, or is None if this process has not seen them all.
    """

    def __init__(self, path: Path, offset: int, hasher: Hasher | None, *, shared: bool = True) -> None:
        """``shared``: other requests may use the path, so the file is locked."""
        self.path = path
        self._shared = shared
        self.offset = offset
        self.hasher = hasher
        self._file: io.FileIO | None = None
        self._created = False
        self._writeback_offset = offset

    def write(self, pieces: Sequence[bytes]) -> None:
        """Write and hash the next bytes."""
        descriptor = self._open_descriptor()
        for first in range(0, len(pieces), _MAX_PIECES):
            self._write_pieces(descriptor, pieces[first : first + _MAX_PIECES])
        if self.hasher is not None:
            for piece in pieces:
                self.hasher.update(piece)
        while self.offset - self._writeback_offset >= WRITEBACK_SIZE:
            self._start_writeback(descriptor)

    def _start_writeback(self, descriptor: int) -> None:
        _sync_range(descriptor, self._writeback_offset, WRITEBACK_SIZE, _WRITE)
        self._writeback_offset += WRITEBACK_SIZE
        old = self._writeback_offset - KEPT_IN_PAGE_CACHE - WRITEBACK_SIZE
        if old >= 0:
            _sync_range(descriptor, old, WRITEBACK_SIZE, _WAIT_BEFORE | _WRITE | _WAIT_AFTER)
            os.posix_fadvise(descriptor, old, WRITEBACK_SIZE, os.POSIX_FADV_DONTNEED)

    def _write_pieces(self, descriptor: int, pieces: Sequence[bytes]) -> None:
        end = self.offset + sum(map(len, pieces))
        self.offset += os.pwritev(descriptor, pieces, self.offset)
        while self.offset < end:
            rest = memoryview(b"".join(pieces))[self.offset - end :]
            self.offset += os.pwrite(descriptor, rest, self.offset)

    def seal(self) -> None:
        """Make the bytes and the file's upload name survive a power failure, and close the file."""
        os.fdatasync(self._open_descriptor())
        if self._created:
            sync_folder(self.path.parent)
        self.close()

    def publish(self, digest: Digest, blob: Path) -> None:
        """Verify the digest, durably rename the file to ``blob``, and close it.

        Replaces an existing blob, which repairs a damaged one. Raises DigestMismatch.
        """
        self.check(digest)
        os.fdatasync(self.descriptor)
        self.move_into_place(blob)
        sync_folder(blob.parent)

    def check(self, digest: Digest) -> None:
        """Raise DigestMismatch and delete the file if it does not have this digest."""
        if self._hexdigest(self.descriptor, digest.algorithm) != digest.hex:
            self.remove()
            raise DigestMismatch(f"the content does not match {digest}, and the upload was discarded: send it again")

    def move_into_place(self, blob: Path) -> None:
        """Rename the synced file to ``blob`` and close it. The caller syncs the folder of that name."""
        self._rename(blob)
        self.close()

    def _rename(self, blob: Path) -> None:
        try:
            self.path.rename(blob)
        except FileNotFoundError:
            if self.path.parent.is_dir() and not self.path.exists():
                raise UploadLost(f"the bytes of upload {self.path.name} are lost: start again") from None
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
        """Discard bytes after ``offset``, which may not be on disk."""
        self.offset = offset
        self.hasher = None
        os.ftruncate(self._open_descriptor(), offset)

    def remove(self) -> None:
        """Delete the file."""
        self.path.unlink(missing_ok=True)

    @property
    def descriptor(self) -> int:
        """The file descriptor."""
        return self._open_descriptor()

    @property
    def is_open(self) -> bool:
        """Whether the file is open and locked."""
        return self._file is not None

    def close(self) -> None:
        """Close the file and release its lock."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open_descriptor(self) -> int:
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
            raise UploadLost(f"the bytes of upload {self.path.name} are lost: start again") from None
        file = io.FileIO(descriptor, "r+")
        _lock(file, self.path)
        self._truncate(descriptor)
        return file

    def _truncate(self, descriptor: int) -> None:
        size = os.fstat(descriptor).st_size
        if size < self.offset:
            raise UploadLost(f"upload {self.path.name} has only {size} of {self.offset} bytes: start again")
        if size > self.offset:
            os.ftruncate(descriptor, self.offset)


def _sync_range(descriptor: int, offset: int, size: int, flags: int) -> None:
    """Call sync_file_range(2). fdatasync does not report this call's errors again, so they count."""
    if _LIBC.sync_file_range(descriptor, ctypes.c_int64(offset), ctypes.c_int64(size), ctypes.c_uint(flags)):
        code = ctypes.get_errno()
        if code not in (errno.ENOSYS, errno.EINVAL, errno.ESPIPE):
            raise OSError(code, os.strerror(code))


def _lock(file: io.FileIO, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UploadBusy(f"another request is writing to upload {path.name}: try again later") from None
    # The previous holder of the lock may have turned this file into a blob, which must never be modified.
    if not _is_same_file(file, path):
        raise UploadBusy(f"another request has just ended upload {path.name}: try again later")


def _is_same_file(file: io.FileIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
