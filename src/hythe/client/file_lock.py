"""Locks between processes by flock: released when the process ends, so that a crash leaves none behind."""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def locked(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Wait for the lock on ``path`` (a folder, or a file that is created if missing) and hold it for the block.

    ``shared`` locks exclude only exclusive ones.
    """
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def locked_if_free(path: Path) -> Iterator[bool]:
    """Hold the exclusive lock on ``path`` for the block if it is free; yields whether it is."""
    descriptor = _open(path)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    if path.is_dir():
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)


def write_atomically(path: Path, content: bytes, mode: int = 0o644, owner: tuple[int, int] | None = None) -> None:
    """Replace ``path`` so that a reader, or a crash, sees either the old or the new content, never a part.

    ``owner`` is the user and group to give the file to, if that is permitted.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if owner is not None:
                with suppress(PermissionError):
                    os.fchown(descriptor, *owner)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)
        temporary.unlink(missing_ok=True)
        raise


def replace_user_file(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Replace a file that users manage: through symbolic links, with its owner, and no wider mode than before.

    A file that cannot be replaced, because it is a bind mount or because its folder is read-only, is written in
    place, as docker does. Its lock must be held. Raises OSError.
    """
    path = path.resolve()
    status = path.stat() if path.is_file() else None
    try:
        if status is None:
            write_atomically(path, content, mode)
        else:
            kept = (stat.S_IMODE(status.st_mode) & mode) | 0o600
            write_atomically(path, content, kept, (status.st_uid, status.st_gid))
    except OSError as error:
        if status is None or error.errno not in _NOT_REPLACEABLE:
            raise
        _write_in_place(path, content)


_NOT_REPLACEABLE = (errno.EBUSY, errno.EACCES, errno.EPERM, errno.EROFS, errno.EXDEV)


def _write_in_place(path: Path, content: bytes) -> None:
    """Overwrite a file; if that fails, the old content is written back."""
    with path.open("r+b", buffering=0) as file:
        old = file.read()
        try:
            _overwrite(file, content)
        except OSError:
            with suppress(OSError):
                _overwrite(file, old)
            raise


def _overwrite(file: BinaryIO, content: bytes) -> None:
    file.seek(0)
    view = memoryview(content)
    while len(view):
        view = view[file.write(view) :]
    file.truncate(len(content))
    os.fsync(file.fileno())
