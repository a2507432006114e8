"""A container's changes: its upper folder compared with the lower layers, listed (diff) or packed (commit).

A running container can replace files at any time: folders are opened through ``Root`` without following links, and
files are opened once and then inspected by descriptor.
"""

import os
import posixpath
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple, cast

from hythe.containers import overlay
from hythe.containers.errors import ContainerError
from hythe.containers.root import Root
from hythe.containers.sparse import SparseReader
from hythe.oci.layer import WHITEOUT_PREFIX, EntryKind, InvalidLayer, LayerEntry, LayerWriter, Opaque, Whiteout

_READ_FOLDER = os.O_RDONLY | os.O_DIRECTORY
_SECTOR = 512  # bytes; the unit of st_blocks
_IGNORED_XATTRS = ("security.selinux", "system.")
_KINDS = {
    stat.S_IFREG: EntryKind.FILE,
    stat.S_IFDIR: EntryKind.FOLDER,
    stat.S_IFLNK: EntryKind.SYMLINK,
    stat.S_IFCHR: EntryKind.CHARACTER,
    stat.S_IFBLK: EntryKind.BLOCK,
    stat.S_IFIFO: EntryKind.FIFO,
}


class Change(Enum):
    """The kind of a change, with docker's letters."""

    ADDED = "A"
    CHANGED = "C"
    DELETED = "D"


class TreeEntry(NamedTuple):
    """A file or folder found by ``walk``. ``opaque`` folders hide the lower layers' content."""

    path: str
    status: os.stat_result
    opaque: bool = False


def walk(root: Root, top: str = "") -> Iterator[TreeEntry]:
    """Yield everything below ``top``, sorted by name, folders before their content; does not follow links."""
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        entry = list(_list_folder(root, folder))
        yield from entry
        waiting += [item.path for item in reversed(entry) if stat.S_ISDIR(item.status.st_mode)]


def total_size(root: Root) -> int:
    """Return the total size of all files in bytes; hard links count once."""
    files = (entry.status for entry in walk(root) if stat.S_ISREG(entry.status.st_mode))
    return sum({(status.st_dev, status.st_ino): status.st_size for status in files}.values())


def _walk_changes(upper: Root) -> Iterator[TreeEntry]:
    """Yield everything in an upper folder except opaque markers."""
    for entry in walk(upper):
        if not overlay.is_opaque_mark(posixpath.basename(entry.path), entry.status):
            yield entry


def _list_folder(root: Root, folder: str) -> Iterator[TreeEntry]:
    """Yield the content of a folder; skips anything that is deleted concurrently, including the folder itself."""
    try:
        descriptor = root.open(folder, _READ_FOLDER, follow=False)
    except FileNotFoundError:
        return
    try:
        for name in sorted(os.listdir(descriptor), key=os.fsencode):  # noqa: PTH208
            with suppress(FileNotFoundError):
                status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                path = posixpath.join(folder, name)
                yield TreeEntry(path, status, stat.S_ISDIR(status.st_mode) and _is_opaque(root, path))
    finally:
        os.close(descriptor)


def _is_opaque(root: Root, path: str) -> bool:
    descriptor = root.open(path, _READ_FOLDER, follow=False)
    try:
        return overlay.is_opaque(descriptor)
    finally:
        os.close(descriptor)


# Listing


def list_changes(upper: Root, lowers: Sequence[Root]) -> list[tuple[Change, str]]:
    """Return the added, changed and deleted paths like ``docker diff``: sorted, with leading slashes."""
    changes = []
    for entry in _walk_changes(upper):
        name = _deleted_path(entry)
        if name is not None:
            changes.append((Change.DELETED, "/" + name))
        else:
            below = exists_below(lowers, entry.path)
            changes.append((Change.CHANGED if below else Change.ADDED, "/" + entry.path))
            if entry.opaque and below:
                changes += [(Change.DELETED, "/" + path) for path in _hidden(upper, lowers, entry.path)]
    return sorted(changes, key=lambda change: os.fsencode(change[1]))


def _deleted_path(entry: TreeEntry) -> str | None:
    """Return the path that a whiteout deletes; None for any other file."""
    if overlay.is_whiteout(entry.status):
        return entry.path
    folder, name = posixpath.split(entry.path)
    marked = overlay.whiteout_name(name, entry.status)
    return None if marked is None else posixpath.join(folder, marked)


def _hidden(upper: Root, lowers: Sequence[Root], folder: str) -> Iterator[str]:
    """Yield the lower layers' entries of the opaque ``folder`` that the upper layer does not have."""
    names: set[str] = set()
    for lower in lowers:
        try:
            names.update(posixpath.basename(entry.path) for entry in _list_folder(lower, folder))
        except OSError:
            continue
    for name in names:
        path = posixpath.join(folder, name)
        if not _is_there(upper, path) and exists_below(lowers, path):
            yield path


def _is_there(root: Root, path: str) -> bool:
    try:
        os.close(root.open(path, os.O_PATH | os.O_NOFOLLOW, follow=False))
    except OSError:
        return False
    return True


def exists_below(lowers: Sequence[Root], path: str) -> bool:
    """Whether ``path`` exists in the merged layers (highest first)."""
    for lower in lowers:
        seen = _lookup(lower, path)
        if seen is not None:
            return seen
    return False


def _lookup(lower: Root, path: str) -> bool | None:
    """Whether a layer has ``path``; None if the next lower layer decides."""
    components = path.split("/")
    for depth in range(1, len(components) + 1):
        here = "/".join(components[:depth])
        try:
            status = _status(lower, here)
        except OSError:
            return None
        if overlay.is_whiteout(status):
            return False
        is_last = depth == len(components)
        if is_last or not stat.S_ISDIR(status.st_mode):
            return is_last
        if _is_opaque(lower, here) and not _is_there(lower, "/".join(components[: depth + 1])):
            return False
    return None


def _status(root: Root, path: str) -> os.stat_result:
    descriptor = root.open(path, os.O_PATH | os.O_NOFOLLOW, follow=False)
    try:
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


# Packing


def pack_changes(upper: Root, stream: BinaryIO) -> bool:
    """Write the upper folder as a reproducible layer; returns whether there are any changes.

    Raises ContainerError for a file that a layer cannot contain.
    """
    packer = _Packer(upper, LayerWriter(stream))
    for entry in _walk_changes(upper):
        deleted = _deleted_path(entry)
        if deleted is not None:
            packer.writer.add(Whiteout(deleted))
        elif posixpath.basename(entry.path).startswith(WHITEOUT_PREFIX):
            raise ContainerError(
                f"cannot commit /{entry.path}: in an image, a name that begins with {WHITEOUT_PREFIX} deletes a file",
                "rename or delete it, and commit again",
            )
        else:
            packer.add(entry)
    packer.writer.close()
    return not packer.writer.is_empty


def pack_folder(root: Root, top: str, stream: IO[bytes]) -> None:
    """Write the folder ``top`` and its content as a tar archive; links to it are resolved inside ``root``."""
    descriptor = root.open_folder(top)
    try:
        with Root(Path(f"/proc/self/fd/{descriptor}")) as inner:
            packer = _Packer(inner, LayerWriter(cast(BinaryIO, stream)))
            packer.add(TreeEntry("", _status(inner, "")))
            for entry in walk(inner):
                packer.add(entry)
            packer.writer.close()
    finally:
        os.close(descriptor)


class _Packer:
    """Writes files as layer entries; further names of a file become hard links to the first."""

    def __init__(self, root: Root, writer: LayerWriter) -> None:
        self._root = root
        self.writer = writer
        self._first_names: dict[tuple[int, int], str] = {}

    def add(self, entry: TreeEntry) -> None:
        """Write an entry; skips sockets, and files that were deleted concurrently."""
        kind = _KINDS.get(stat.S_IFMT(entry.status.st_mode))
        if kind is EntryKind.FILE:
            with suppress(FileNotFoundError):
                self._add_file(entry)
        elif kind is not None:
            with suppress(FileNotFoundError):
                self.writer.add(self._entry(entry.path, kind, entry.status))
                if entry.opaque:
                    self.writer.add(Opaque(entry.path))

    def _add_file(self, entry: TreeEntry) -> None:
        descriptor = self._root.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, follow=False)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise InvalidLayer(f"{entry.path!r} changed while it was read: stop the process that writes to it")
            first = self._first_names.setdefault((status.st_dev, status.st_ino), entry.path)
            if status.st_nlink > 1 and first != entry.path:
                self.writer.add(self._layer_entry(entry.path, EntryKind.HARDLINK, status, target=first))
                return
            member = self._layer_entry(entry.path, EntryKind.FILE, status, xattrs=_xattrs(descriptor))
            content = SparseReader(descriptor) if status.st_blocks * _SECTOR < status.st_size else file
            self.writer.add(member, cast(BinaryIO, content))

    def _entry(self, path: str, kind: EntryKind, status: os.stat_result) -> LayerEntry:
        if kind is EntryKind.FOLDER:
            descriptor = self._root.open(path, _READ_FOLDER, follow=False)
            try:
                return self._layer_entry(path, kind, status, xattrs=_xattrs(descriptor))
            finally:
                os.close(descriptor)
        target = self._link_text(path) if kind is EntryKind.SYMLINK else ""
        return self._layer_entry(path, kind, status, target=target)

    def _link_text(self, path: str) -> str:
        descriptor = self._root.open(path, os.O_PATH | os.O_NOFOLLOW, follow=False)
        try:
            return os.readlink("", dir_fd=descriptor)
        finally:
            os.close(descriptor)

    @staticmethod
    def _layer_entry(
        path: str, kind: EntryKind, status: os.stat_result, *, target: str = "", xattrs: dict[str, bytes] | None = None
    ) -> LayerEntry:
        is_device = kind in (EntryKind.CHARACTER, EntryKind.BLOCK)
        return LayerEntry(
            path=path,
            kind=kind,
            mode=stat.S_IMODE(status.st_mode),
            uid=status.st_uid,
            gid=status.st_gid,
            mtime_ns=status.st_mtime_ns,
            size=status.st_size if kind is EntryKind.FILE else 0,
            target=target,
            device=(os.major(status.st_rdev), os.minor(status.st_rdev)) if is_device else (0, 0),
            xattrs=xattrs or {},
        )


def _xattrs(descriptor: int) -> dict[str, bytes]:
    names = (name for name in os.listxattr(descriptor) if not name.startswith(_IGNORED_XATTRS))
    return {name: os.getxattr(descriptor, name) for name in names if not overlay.is_own_xattr(name)}
