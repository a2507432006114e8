"""``Root``: access to untrusted folders, with every path resolved inside them, as after a chroot.

The kernel resolves paths (``openat2`` with ``RESOLVE_IN_ROOT``): ``..`` and absolute links stay inside the folder, and
there is no race with a process that replaces a folder by a link.
"""

import errno
import os
import posixpath
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from hythe.containers import linux
from hythe.containers.errors import NotRemoved

_FOLDER = os.O_PATH | os.O_DIRECTORY
IMAGE_UMASK = 0o022
_WITHIN = linux.RESOLVE_IN_ROOT | linux.RESOLVE_NO_MAGICLINKS


class Root:
    """A folder as the root of paths. Close it, or use it as a context manager. All methods raise OSError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._descriptor = os.open(folder, _FOLDER | os.O_CLOEXEC)

    def open(self, path: str, flags: int = os.O_RDONLY, *, follow: bool = True) -> int:
        """Return a descriptor of ``path``; without ``follow``, links anywhere in the path raise an error."""
        resolve = _WITHIN if follow else _WITHIN | linux.RESOLVE_NO_SYMLINKS
        return linux.openat2(self._descriptor, path or ".", flags, resolve)

    def open_folder(self, path: str, *, follow: bool = True) -> int:
        """Return a descriptor of the folder ``path``, only for use as ``dir_fd``."""
        return self.open(path, _FOLDER, follow=follow)

    def read(self, path: str, limit: int = 1 << 20) -> bytes:
        """Return the first ``limit`` bytes of the regular file ``path``."""
        descriptor = self.open(path, os.O_RDONLY | os.O_NONBLOCK)  # do not block on a pipe
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "not a regular file", path)
            return file.read(limit)

    def exists(self, path: str) -> bool:
        """Whether ``path`` exists."""
        try:
            os.close(self.open(path, os.O_PATH))
        except OSError:
            return False
        return True

    def make_folders(self, path: str) -> int:
        """Return a descriptor of the folder ``path``; creates missing folders (mode 0755)."""
        missing: list[str] = []  # no recursion: archives contain paths 2000 folders deep
        while True:
            try:
                descriptor = self.open_folder(path)
                break
            except (FileNotFoundError, NotADirectoryError):
                path, name = posixpath.split(path)
                if not name:
                    raise
                missing.append(name)
        for name in reversed(missing):
            try:
                self._make_folder(descriptor, name)
            finally:
                os.close(descriptor)
            path = posixpath.join(path, name)
            descriptor = self.open_folder(path)
        return descriptor

    def _make_folder(self, parent: int, name: str) -> None:
        """Create one missing folder of ``make_folders``; subclasses can override it."""
        os.mkdir(name, 0o755, dir_fd=parent)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def image_umask() -> Iterator[None]:
    """Use the umask of images during the block, independent of the user's."""
    before = os.umask(IMAGE_UMASK)
    try:
        yield
    finally:
        os.umask(before)


def remove(name: str, folder: int) -> None:
    """Remove the file or folder ``name``, if it exists, from the folder descriptor ``folder``."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return
    except IsADirectoryError:
        tree = f"/proc/self/fd/{folder}/{name}"
        subprocess.run(["rm", "-rf", "--one-file-system", "--", tree], check=True, pass_fds=[folder])


def remove_tree(folder: Path) -> None:
    """Remove ``folder`` and its content, except for mounts in it. Raises NotRemoved.

    Uses ``rm``, because containers and archives create trees deeper than Python's recursion limit.
    """
    command = ["rm", "-rf", "--one-file-system", "--", str(folder)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace", check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["rm failed"]
        raise NotRemoved(lines[-1].removeprefix("rm: "), "removing another container tries again")
