"""Linux system calls missing in Python's standard library: openat2, mount, unshare, prctl, syncfs.

All functions raise OSError, like those of ``os``.
"""

import ctypes
import os
from functools import cache
from pathlib import Path
from typing import Any

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
MS_REC = 0x4000
MS_SLAVE = 1 << 19
MNT_DETACH = 0x2
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_IN_ROOT = 0x10
_PR_SET_CHILD_SUBREAPER = 36
_SYS_OPENAT2 = 437  # the same number on every architecture


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: object) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(what))
    return result


def openat2(folder: int, path: str, flags: int, resolve: int, mode: int = 0) -> int:
    """Open ``path`` under the folder descriptor ``folder``; ``resolve``: how to follow links (openat2(2))."""
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    name = os.fsencode(path)
    return _checked(_libc().syscall(_SYS_OPENAT2, folder, name, ctypes.byref(how), ctypes.sizeof(how)), path)


def mount(source: str, target: Path | str, kind: str | None, flags: int = 0, options: str = "") -> None:
    """Mount ``source`` on ``target`` (mount(2))."""
    arguments: list[Any] = [source.encode(), os.fsencode(target), kind.encode() if kind else None]
    _checked(_libc().mount(*arguments, ctypes.c_ulong(flags), options.encode() or None), target)


def unmount(target: Path | str) -> None:
    """Detach the mount at ``target``; processes that still use it keep it until they end (umount2(2))."""
    _checked(_libc().umount2(os.fsencode(target), MNT_DETACH), target)


def unshare(flags: int) -> None:
    """Move this process, which must be single-threaded, to new namespaces (unshare(2))."""
    _checked(_libc().unshare(flags), "unshare")


def become_subreaper() -> None:
    """Make this process the parent of its orphaned descendants, so that it can wait for them (prctl(2))."""
    _checked(_libc().prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")


def sync_file_system(folder: Path) -> None:
    """Sync the file system of ``folder`` to disk (syncfs(2))."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _checked(_libc().syncfs(descriptor), folder)
    finally:
        os.close(descriptor)
