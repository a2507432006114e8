"""Unpacking a layer into a folder of its own, in the overlay's form, never outside of it.

Every path is resolved by ``Root``; files are made with ``O_EXCL``; nothing already there is written through.
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
from hythe.oci.layer import Content, Entry, InvalidLayer, Kind, Member, Opaque, Whiteout, read_layer, shown

_READ_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_IGNORED_XATTR_ERRORS = (errno.ENOTSUP, errno.EPERM, errno.EACCES)


def unpack_layer(stream: BinaryIO, folder: Path) -> bool:
    """Unpack the uncompressed layer ``stream`` into the empty ``folder``.

    Returns whether the layer hides everything below it (its root is opaque). Raises InvalidLayer for an archive that is
    broken or would leave the folder, and OSError for a disk that is full or broken.
    """
    with image_umask(), _LayerRoot(folder) as root:
        unpacker = _Unpacker(root)
        try:
            for member, content in read_layer(stream):
                unpacker.apply(member, content)
        finally:
            unpacker.finish()
        return unpacker.hides_everything


def _explained(error: OSError, member: Member) -> Exception:
    """Return what to raise: the archive's fault is an InvalidLayer, the disk's stays what it is."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        return error
    hint = ""
    if error.errno == errno.EINVAL and in_user_namespace():
        hint = " hint: its owner may be outside of your range in /etc/subuid"
    return InvalidLayer(f"{shown(member.path)} cannot be unpacked: {error.strerror}.{hint}")


class _LayerRoot(Root):
    """Folders made in place of a whiteout hide what is below, as the whiteout did."""

    def _make_folder(self, parent: int, name: str) -> None:
        _make_folder(parent, name, replaces=False)


def _make_folder(parent: int, name: str, *, replaces: bool) -> None:
    """Make the folder ``name`` unless it is there.

    A whiteout gives way, and the folder hides what is below as it did; a file or link only when ``replaces``.
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
    """Applies members one after the other; keeps the last parent open, because neighbours follow each other."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._parent: tuple[str, int] | None = None
        self._folder_times: dict[str, int] = {}
        self._drops_devices = in_user_namespace()
        self.hides_everything = False

    def apply(self, member: Member, content: Content | None) -> None:
        """Do what ``member`` says; raises InvalidLayer for what cannot be."""
        try:
            self._apply(member, content)
        except OSError as error:
            raise _explained(error, member) from error

    def _apply(self, member: Member, content: Content | None) -> None:
        match member:
            case Opaque(path=""):
                self.hides_everything = True
            case Opaque():
                self._hide(member.path)
            case Whiteout():
                self._white_out(member.path)
            case Entry(path=""):
                self._change_root(member)
            case Entry():
                self._make(member, content)

    def finish(self) -> None:
        """Set the times of folders, which every file made in them had changed."""
        self._forget_parent()
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
            self._forget_parent()
            self._parent = (above, self._root.make_folders(above))
        return self._parent[1], name

    def _forget_parent(self) -> None:
        if self._parent is not None:
            os.close(self._parent[1])
            self._parent = None

    def _hide(self, path: str) -> None:
        os.close(self._root.make_folders(path))
        descriptor = self._root.open(path, os.O_RDONLY | os.O_DIRECTORY)
        overlay.make_opaque(descriptor)
        os.close(descriptor)

    def _white_out(self, path: str) -> None:
        """Hide ``path`` of lower layers; what this layer put there itself stays (specification, "Whiteouts")."""
        parent, name = self._parent_of(path)
        try:
            overlay.make_whiteout(name, parent)
        except FileExistsError:
            if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                _on_folder(parent, name, overlay.make_opaque)

    def _change_root(self, entry: Entry) -> None:
        if entry.kind is not Kind.FOLDER:
            raise InvalidLayer(f"the root of the layer is a {entry.kind.value}")
        descriptor = self._root.open("", os.O_RDONLY | os.O_DIRECTORY)
        _dress(descriptor, entry)
        os.close(descriptor)
        self._folder_times[""] = entry.mtime_ns

    def _make(self, entry: Entry, content: Content | None) -> None:
        parent, name = self._parent_of(entry.path)
        if entry.kind is Kind.FOLDER:
            self._make_folder(entry, parent, name)
            return
        try:
            self._make_other(entry, content, parent, name)
        except FileExistsError:
            remove(name, parent)
            self._forget_parent()  # it may have led through what is gone now
            parent, name = self._parent_of(entry.path)
            self._make_other(entry, content, parent, name)

    def _make_folder(self, entry: Entry, parent: int, name: str) -> None:
        _make_folder(parent, name, replaces=True)
        _on_folder(parent, name, lambda descriptor: _dress(descriptor, entry))
        self._folder_times[entry.path] = entry.mtime_ns

    def _make_other(self, entry: Entry, content: Content | None, parent: int, name: str) -> None:
        match entry.kind:
            case Kind.FILE:
                _write_file(entry, content, parent, name)
            case Kind.HARDLINK:
                self._link(entry, parent, name)
            case Kind.SYMLINK:
                os.symlink(entry.target, name, dir_fd=parent)
                _dress_by_name(entry, parent, name)
            case Kind.FIFO:
                os.mkfifo(name, 0o600, dir_fd=parent)
                _dress_by_name(entry, parent, name)
            case _:
                self._make_device(entry, parent, name)

    def _link(self, entry: Entry, parent: int, name: str) -> None:
        above, target = posixpath.split(entry.target)
        if not target:
            raise InvalidLayer(f"{entry.path!r} is a hard link to the root")
        folder = self._root.open_folder(above)
        try:
            os.link(target, name, src_dir_fd=folder, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(folder)

    def _make_device(self, entry: Entry, parent: int, name: str) -> None:
        if self._drops_devices:
            return  # no user namespace may make one; runtimes bind the usual devices from the host
        kind = stat.S_IFCHR if entry.kind is Kind.CHARACTER else stat.S_IFBLK
        os.mknod(name, kind | 0o600, os.makedev(*entry.device), dir_fd=parent)
        _dress_by_name(entry, parent, name)


def _write_file(entry: Entry, content: Content | None, parent: int, name: str) -> None:
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=parent)
    try:
        end = 0
        for offset, data in content.segments() if content else ():
            if offset != end:
                os.lseek(descriptor, offset, os.SEEK_SET)
            end = offset + _write(descriptor, data)
        if end != entry.size:
            os.ftruncate(descriptor, entry.size)
        _dress(descriptor, entry)
        os.utime(descriptor, ns=(entry.mtime_ns, entry.mtime_ns))
    finally:
        os.close(descriptor)


def _write(descriptor: int, data: bytes) -> int:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    return len(data)


def _dress(descriptor: int, entry: Entry) -> None:
    """Give a file or folder its owner, mode and attributes, in this order: a new owner takes set-uid bits away."""
    os.fchown(descriptor, entry.uid, entry.gid)
    os.fchmod(descriptor, entry.mode)
    for name, value in entry.xattrs.items():
        _set_xattr(descriptor, name, value)


def _dress_by_name(entry: Entry, parent: int, name: str) -> None:
    """``_dress`` for what cannot be opened: links, devices, pipes."""
    os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
    if entry.kind is not Kind.SYMLINK:
        os.chmod(name, entry.mode, dir_fd=parent)  # made just now, so it is no link
    for attribute, value in entry.xattrs.items():
        _set_xattr(f"/proc/self/fd/{parent}/{name}", attribute, value)
    os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent, follow_symlinks=False)


def _set_xattr(target: int | str, name: str, value: bytes) -> None:
    if overlay.is_own_xattr(name):
        return  # an archive has no say in how layers are joined
    try:
        if isinstance(target, int):
            os.setxattr(target, name, value)
        else:
            os.setxattr(target, name, value, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _IGNORED_XATTR_ERRORS:
            raise
