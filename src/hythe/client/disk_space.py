"""Errors of writing local files that say which path it was, what did not fit, and how to free space."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hythe.client.errors import DISK_FULL, DiskFull, UnusableFile, os_error_message

_OF_WRITING = (errno.EROFS, errno.EFBIG)
"""Other errors that only a write can cause."""
STORE_HINT = "free space: 'hythe rmi' removes images, 'hythe rm' containers; HYTHE_STORE names another folder"
CONTAINERS_HINT = "free space: 'hythe rm' removes containers, 'hythe rmi' images; HYTHE_STATE names another folder"
TEMPORARY_HINT = "free space there, or set TMPDIR to a folder on another disk"
FILE_HINT = "free space on that disk, or use another folder"


def write_error(error: OSError, path: Path, *, content: str = "", hint: str = FILE_HINT) -> OSError:
    """Return the exception for a failed write to ``path``: DiskFull, or ``error``, which then names a file, too.

    ``content`` is what does not fit, such as ``a layer of 12.3 MB``.
    """
    if error.errno in DISK_FULL and not isinstance(error, DiskFull):
        full = DiskFull(f"{path}: {error.strerror}" + (f" for {content}" if content else ""), hint)
        full.errno = error.errno
        return full
    if error.filename is None and error.errno in _OF_WRITING:
        error.filename = str(path)
    return error


@contextmanager
def writing(path: Path, *, content: str = "", hint: str = FILE_HINT) -> Iterator[None]:
    """Raise DiskFull for a full disk, and other errors of the operating system with the name of a file."""
    try:
        yield
    except OSError as error:
        named = write_error(error, path, content=content, hint=hint)
        if named is error:
            raise
        raise named from error


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Create a temporary folder for the block. Raises UnusableFile if there is none to write to."""
    import tempfile  # takes 4 ms

    try:
        folder = tempfile.TemporaryDirectory(prefix="hythe-")
    except OSError as error:
        raise UnusableFile(os_error_message(error), TEMPORARY_HINT) from error
    with folder as path, writing(Path(path), hint=TEMPORARY_HINT):
        yield Path(path)


def in_megabytes(size: int) -> str:
    """Return a number of bytes as docker shows it, at least 0.1 MB."""
    return f"{max(size, 100_000) / 1_000_000:.1f} MB"
