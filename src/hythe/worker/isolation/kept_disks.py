"""The disks that a worker keeps between builds: image stores, one for each rule and branch.

Their size is bounded: each account has a limit, and the machine keeps room for builds; the least recently used disk is
deleted first. A disk that no build used for MAX_AGE is deleted, too, as is one whose builds the hub no longer has.
Disks are sparse files, so the size of one is what it really takes.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Collection, Iterator
from pathlib import Path

import msgspec

from hythe.worker.isolation.disk import IN_USE, LOCK, try_lock

IMAGE = ".img"
MAX_AGE = 14 * 86_400
"""Seconds after which an unused disk is deleted."""
MIN_FREE = 0.1
"""The part of the file system that kept disks leave free."""


class KeptDisk(msgspec.Struct, frozen=True):
    """A kept disk: its image, what it really takes in bytes, and when it was last used (Unix time)."""

    image: Path
    size: int
    used: float

    @property
    def key(self) -> str:
        """The key of the builds that use it."""
        return self.image.stem


class KeptDisks:
    """The disks below ``folder``, in one folder for each account."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def of(cls, worker_folder: Path) -> "KeptDisks":
        """Return the disks of the worker with this folder."""
        return cls(worker_folder / "cache")

    @contextlib.contextmanager
    def use(self, account: str, key: str) -> Iterator[Path | None]:
        """Reserve the disk of these builds and yield the path of its image; None while another build uses it."""
        image = self._folder / account / f"{key}{IMAGE}"
        with try_lock(image.with_suffix(LOCK)) as free:
            yield image if free else None
            if free and image.exists():
                os.utime(image)
            elif free:
                image.with_suffix(LOCK).unlink(missing_ok=True)

    def limit(self, account: str, max_size: int) -> None:
        """Delete disks until the account's take ``max_size`` bytes at most, and MIN_FREE of the machine is free."""
        own = sorted(self._disks(self._folder / account), key=lambda disk: disk.used)
        excess = sum(disk.size for disk in own) - max_size
        for disk in own:
            if excess > 0 and _delete(disk.image):
                excess -= disk.size
        for disk in sorted(self._all(), key=lambda disk: disk.used):
            usage = shutil.disk_usage(self._folder)
            if usage.free >= MIN_FREE * usage.total:
                break
            _delete(disk.image)

    def delete_unused(self) -> None:
        """Delete the disks that no build used for MAX_AGE."""
        for disk in self._all():
            if time.time() - disk.used > MAX_AGE:
                _delete(disk.image)

    def keys(self) -> list[str]:
        """Return the keys of all disks."""
        return [disk.key for disk in self._all()]

    def delete(self, keys: Collection[str]) -> None:
        """Delete the disks with these keys, unless a build is using them."""
        for disk in self._all():
            if disk.key in keys:
                _delete(disk.image)

    def _all(self) -> list[KeptDisk]:
        try:
            accounts = [path for path in self._folder.iterdir() if path.is_dir()]
        except FileNotFoundError:
            return []
        return [disk for account in accounts for disk in self._disks(account)]

    @staticmethod
    def _disks(folder: Path) -> list[KeptDisk]:
        found = []
        for image in folder.glob(f"*{IMAGE}"):
            with contextlib.suppress(FileNotFoundError):
                state = image.stat()
                found.append(KeptDisk(image, state.st_blocks * 512, state.st_mtime))
        return found


def _delete(image: Path) -> bool:
    """Delete a disk, with its lock, unless a build is using it; return whether it was deleted."""
    with try_lock(image.with_suffix(LOCK)) as free:
        if free:
            for path in (image, image.with_suffix(IN_USE), image.with_suffix(LOCK)):
                path.unlink(missing_ok=True)
        return free
