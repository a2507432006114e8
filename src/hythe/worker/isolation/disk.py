"""A build's disk: a separate file system in a file, so that a full disk affects nothing else.

A disk that is kept between builds (``kept_disks``) is marked while in use; if a build did not end properly (its worker
was killed), the disk is discarded.

A worker that cannot mount file systems uses a folder and checks its size regularly.
"""

import contextlib
import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from hythe.worker.errors import IsolationUnavailable
from hythe.worker.isolation.id_mapping import IdMapping
from hythe.worker.source_tree import remove

MAX_KEPT_USAGE = 0.8
"""A kept disk that is fuller than this is discarded."""
IN_USE, LOCK = ".in-use", ".lock"
"""Suffixes of the files next to a disk's image."""
MIN_FREE_SPACE = 64 << 20
"""A watched folder or disk counts as full at this many bytes below its limit."""


class Disk(Protocol):
    """The disk of a build."""

    folder: Path

    def problem(self) -> str:
        """Explain why the disk is full; empty if it is not."""

    def close(self, *, keep: bool) -> None:
        """Release the disk; with ``keep`` its content stays for the next build."""


class ImageDisk:
    """A file system in a file, mounted through a loop device. Needs root."""

    def __init__(self, image: Path, folder: Path, size: int, files: int, ids: IdMapping) -> None:
        """Mount ``image`` at ``folder``; create it unless it exists and was released properly."""
        self.folder = folder
        self._image = image
        self._size = size
        self._files = files
        self._in_use = image.with_suffix(IN_USE)
        if self._in_use.exists() or not image.exists() or image.stat().st_size != size:
            _make_file_system(image, size, files, ids)
        self._in_use.touch()
        folder.mkdir(parents=True, exist_ok=True)
        # With "discard", deleted files free space of the image, too.
        _run("mount", "-o", "loop,nodev,noatime,discard", str(image), str(folder))
        os.chown(folder, ids.owner, ids.owner)

    def problem(self) -> str:
        """See Disk."""
        state = os.statvfs(self.folder)
        if state.f_bavail * state.f_frsize < min(MIN_FREE_SPACE, self._size // 50):
            return f"it filled its disk of {self._size >> 20} MiB"
        if state.f_ffree < 100:
            return f"it created more than its {self._files} files"
        return ""

    def close(self, *, keep: bool) -> None:
        """See Disk."""
        state = os.statvfs(self.folder)
        has_room = (
            state.f_bavail / state.f_blocks > 1 - MAX_KEPT_USAGE and state.f_ffree / state.f_files > 1 - MAX_KEPT_USAGE
        )
        _run("umount", "--lazy" if not keep else "--no-canonicalize", str(self.folder), check=keep)
        if not (keep and has_room):
            self._image.unlink(missing_ok=True)
        self._in_use.unlink(missing_ok=True)


class WatchedDisk:
    """An ordinary folder, whose files are counted on request."""

    def __init__(self, folder: Path, size: int, files: int) -> None:
        self.folder = folder
        self._size = size
        self._files = files
        folder.mkdir(parents=True, exist_ok=True)

    def problem(self) -> str:
        """See Disk."""
        size, files = _usage(self.folder)
        if size > self._size:
            return f"it filled its disk of {self._size >> 20} MiB"
        return f"it created more than its {self._files} files" if files > self._files else ""

    def close(self, *, keep: bool) -> None:
        """See Disk."""
        if not keep:
            remove(self.folder)


@contextlib.contextmanager
def try_lock(path: Path) -> Iterator[bool]:
    """Hold the lock at ``path``; yield False if another process has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        # The worker that deletes a disk also deletes its lock, which another can have opened before.
        yield path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino


def _make_file_system(image: Path, size: int, files: int, ids: IdMapping) -> None:
    image.parent.mkdir(parents=True, exist_ok=True)
    image.unlink(missing_ok=True)
    with image.open("wb") as file:
        file.truncate(size)
    owner = f"root_owner={ids.owner}:{ids.owner},lazy_itable_init=1,nodiscard"
    count = str(max(1024, min(files, size // 4096)))
    _run("mkfs.ext4", "-q", "-F", "-m", "0", "-N", count, "-O", "^has_journal", "-E", owner, str(image))


def _run(*command: str, check: bool = True) -> None:
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    completed = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if check and completed.returncode:
        raise IsolationUnavailable(f"{command[0]} failed: {completed.stderr.strip()}")


def _usage(folder: Path) -> tuple[int, int]:
    """Return bytes and number of files; folders that are too deep for a path count as too many files."""
    size = files = 0
    waiting = [str(folder)]
    while waiting:
        path = waiting.pop()
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    files += 1
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        size += entry.stat(follow_symlinks=False).st_blocks * 512
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return size, sys.maxsize
    return size, files
