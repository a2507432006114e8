"""Unpacking a layer into a folder, in overlay format, and never outside of it.

``Root`` resolves all paths, and files are created with ``O_EXCL``, so that existing files and links are not followed.
"""

import errno
import os
import posixpath
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from hythe.containers import overlay
from hythe.containers.namespace import in_user_namespace
from hythe.containers.root import Root, image_umask, remove
from hythe.containers.sparse import write_sparse
from hythe.oci.layer import (
    EntryContent,
    EntryKind,
    InvalidLayer,
    LayerEntry,
    Member,
    Opaque,
    Whiteout,
    read_layer,
    shown,
)

_READ_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_IGNORED_XATTR_ERRORS = (errno.ENOTSUP, errno.EPERM, errno.EACCES)


def unpack_layer(stream: BinaryIO, folder: Path) -> bool:
    """Unpack the uncompressed layer ``stream`` into the empty ``folder``.

    Returns whether the layer hides all lower layers (its root is opaque). Raises InvalidLayer for an archive that is
    damaged or tries to leave the folder, and OSError for errors of the disk.
    """
    with image_umask(), _LayerRoot(folder) as root:
        unpacker = _Unpacker(root)
        try:
            for member, content in read_layer(stream):
                unpacker.apply(member, content)
        finally:
            unpacker.finish()
        return unpacker.hides_everything


def _unpack_error(error: OSError, member: Member) -> Exception:
    """Return the exception to raise: InvalidLayer for the archive's errors, the OSError itself for the disk's."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        return error
    hint = ""
    if error.errno == errno.EINVAL and in_user_namespace():
        hint = " hint: its owner may be outside your range in /etc/subuid"
    return InvalidLayer(f"{shown(member.path)} cannot be unpacked: {error.strerror}.{hint}")


class _LayerRoot(Root):
    """A root where folders that replace a whiteout are opaque."""

    def _make_folder(self, parent: int, name: str) -> None:
        _make_folder(parent, name, replaces=False)


def _make_folder(parent: int, name: str, *, replaces: bool) -> None:
    """Create the folder ``name`` if it does not exist.

    It replaces a whiteout, and is then opaque; it replaces a file or link only if ``replaces``.
    """
    try:
        os.mkdir(name, 0o755, dir_fd=parent)
        return
    except FileExistsError:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        whiteout = overlay.is_whiteout(status)
        if stat.S_ISDIR(status.st_mode):
            return
        if not (replaces or whiteout):
            raise
    os.unlink(name, dir_fd=parent)
    os.mkdir(name, 0o755, dir_fd=parent)
    if whiteout:
        _on_folder(parent, name, overlay.make_opaque)


def _on_folder(parent: int, name: str, action: Callable[[int], None]) -> None:
    descriptor = os.open(name, _READ_FOLDER, dir_fd=parent)
    try:
        action(descriptor)
    finally:
        os.close(descriptor)


class _Unpacker:
    """Applies members in order; keeps the last parent folder open, because the next member usually has the same."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._parent: tuple[str, int] | None = None
        self._folder_times: dict[str, int] = {}
        self._skip_devices = in_user_namespace()
        self.hides_everything = False

    def apply(self, member: Member, content: EntryContent | None) -> None:
        """Apply a member of the archive; raises InvalidLayer if it is not possible."""
        try:
            self._apply(member, content)
        except OSError as error:
            raise _unpack_error(error, member) from error

    def _apply(self, member: Member, content: EntryContent | None) -> None:
        match member:
            case Opaque(path=""):
                self.hides_everything = True
            case Opaque():
                self._hide(member.path)
            case Whiteout():
                self._add_whiteout(member.path)
            case LayerEntry(path=""):
                self._change_root(member)
            case LayerEntry():
                self._make(member, content)

    def finish(self) -> None:
        """Set the times of folders last, because creating files changes them."""
        self._close_parent()
        for path, mtime in self._folder_times.items():
            self._set_folder_time(path, mtime)

    def _set_folder_time(self, path: str, mtime: int) -> None:
        try:
            descriptor = self._root.open(path, _READ_FOLDER, follow=False)
        except OSError:
            return  # replaced by something else later in the archive
        os.utime(descriptor, ns=(mtime, mtime))
        os.close(descriptor)

    def _parent_of(self, path: str) -> tuple[int, str]:
        above, name = posixpath.split(path)
        if self._parent is None or self._parent[0] != above:
            self._close_parent()
            self._parent = (above, self._root.make_folders(above))
        return self._parent[1], name

    def _close_parent(self) -> None:
        if self._parent is not None:
            os.close(self._parent[1])
            self._parent = None

    def _hide(self, path: str) -> None:
        os.close(self._root.make_folders(path))
        descriptor = self._root.open(path, os.O_RDONLY | os.O_DIRECTORY)
        overlay.make_opaque(descriptor)
        os.close(descriptor)

    def _add_whiteout(self, path: str) -> None:
        """Hide ``path`` of lower layers, but not what this layer itself adds (specification, "Whiteouts")."""
        parent, name = self._parent_of(path)
        try:
            overlay.make_whiteout(name, parent)
        except FileExistsError:
            if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                _on_folder(parent, name, overlay.make_opaque)

    def _change_root(self, entry: LayerEntry) -> None:
        if entry.kind is not EntryKind.FOLDER:
            raise InvalidLayer(f"the root of the layer is a {entry.kind.value}")
        descriptor = self._root.open("", os.O_RDONLY | os.O_DIRECTORY)
        _apply_metadata(descriptor, entry)
        os.close(descriptor)
        self._folder_times[""] = entry.mtime_ns

    def _make(self, entry: LayerEntry, content: EntryContent | None) -> None:
        parent, name = self._parent_of(entry.path)
        if entry.kind is EntryKind.FOLDER:
            self._make_folder(entry, parent, name)
            return
        try:
            self._make_other(entry, content, parent, name)
        except FileExistsError:
            remove(name, parent)
            self._close_parent()  # its path may have led through the removed file
            parent, name = self._parent_of(entry.path)
            self._make_other(entry, content, parent, name)

    def _make_folder(self, entry: LayerEntry, parent: int, name: str) -> None:
        _make_folder(parent, name, replaces=True)
        _on_folder(parent, name, lambda descriptor: _apply_metadata(descriptor, entry))
        self._folder_times[entry.path] = entry.mtime_ns

    def _make_other(self, entry: LayerEntry, content: EntryContent | None, parent: int, name: str) -> None:
        match entry.kind:
            case EntryKind.FILE:
                _write_file(entry, content, parent, name)
            case EntryKind.HARDLINK:
                self._link(entry, parent, name)
            case EntryKind.SYMLINK:
                os.symlink(entry.target, name, dir_fd=parent)
                _apply_metadata_by_name(entry, parent, name)
            case EntryKind.FIFO:
                os.mkfifo(name, 0o600, dir_fd=parent)
                _apply_metadata_by_name(entry, parent, name)
            case _:
                self._make_device(entry, parent, name)

    def _link(self, entry: LayerEntry, parent: int, name: str) -> None:
        above, target = posixpath.split(entry.target)
        if not target:
            raise InvalidLayer(f"{entry.path!r} is a hard link to the root")
        folder = self._root.open_folder(above)
        try:
            os.link(target, name, src_dir_fd=folder, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(folder)

    def _make_device(self, entry: LayerEntry, parent: int, name: str) -> None:
        if self._skip_devices:
            return  # not possible in a user namespace; runtimes mount the usual devices from the host
        kind = stat.S_IFCHR if entry.kind is EntryKind.CHARACTER else stat.S_IFBLK
        os.mknod(name, kind | 0o600, os.makedev(*entry.device), dir_fd=parent)
        _apply_metadata_by_name(entry, parent, name)


def _write_file(entry: LayerEntry, content: EntryContent | None, parent: int, name: str) -> None:
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=parent)
    try:
        for offset, data in content.segments() if content else ():
            write_sparse(descriptor, offset, data)
        if entry.size:
            os.ftruncate(descriptor, entry.size)  # it may end with a hole
        _apply_metadata(descriptor, entry)
        os.utime(descriptor, ns=(entry.mtime_ns, entry.mtime_ns))
    finally:
        os.close(descriptor)


def _apply_metadata(descriptor: int, entry: LayerEntry) -> None:
    """Set owner, mode and attributes, in this order: changing the owner clears set-uid bits."""
    os.fchown(descriptor, entry.uid, entry.gid)
    os.fchmod(descriptor, entry.mode)
    for name, value in entry.xattrs.items():
        _set_xattr(descriptor, name, value)


def _apply_metadata_by_name(entry: LayerEntry, parent: int, name: str) -> None:
    """Set the metadata of files that cannot be opened: links, devices, pipes."""
    os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
    if entry.kind is not EntryKind.SYMLINK:
        os.chmod(name, entry.mode, dir_fd=parent)  # just created, so it is not a link
    for attribute, value in entry.xattrs.items():
        _set_xattr(f"/proc/self/fd/{parent}/{name}", attribute, value)
    os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent, follow_symlinks=False)


def _set_xattr(target: int | str, name: str, value: bytes) -> None:
    if overlay.is_own_xattr(name):
        return  # an archive must not control the overlay
    try:
        if isinstance(target, int):
            os.setxattr(target, name, value)
        else:
            os.setxattr(target, name, value, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _IGNORED_XATTR_ERRORS:
            raise
