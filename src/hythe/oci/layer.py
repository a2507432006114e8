"""Layers: tar archives with whiteouts, as values and streams (image specification, "Image Layer Filesystem Changeset").

``read_layer`` turns a stream into members, ``LayerWriter`` members into a stream; neither touches a file system.

    Member = LayerEntry       something that is there: a file, folder, link, device or pipe
           | Whiteout    something of a lower layer that is gone (``.wh.NAME``)
           | Opaque      a folder whose content in lower layers is gone (``.wh..wh..opq``)

Paths are relative and clean: no leading ``/``, no ``.`` or ``..``; the root is ``""``. A path that would leave the root
is refused. Names that are not UTF-8 are kept by surrogateescape.
"""

import posixpath
import tarfile
from collections.abc import Iterator
from enum import Enum
from typing import BinaryIO, Self, cast

import msgspec

from hythe.oci.errors import OCIError

WHITEOUT_PREFIX = ".wh."
OPAQUE_NAME = ".wh..wh..opq"
_META_PREFIX = ".wh..wh."
_XATTR_PREFIX = "SCHILY.xattr."
_CHUNK = 1 << 20
_BUFFER = 64 << 10  # tarfile copies what is left in it at every read
LARGEST_HEADER = 1 << 20
"""Most bytes of a PAX header or a GNU long name: they are held in memory."""
LARGEST_SPARSE_FILE = 1 << 40
"""Most bytes that a sparse file may claim to have."""
LARGEST_ID = 2**32 - 2
"""The largest number of a user or group: the one above it means "leave it as it is" to the kernel."""
_LONGEST_SHOWN = 200
_NANOSECONDS = 1_000_000_000
_LATEST = 2**63 - 1  # nanoseconds: docker takes times beyond it for no time at all, too


class InvalidLayer(OCIError):
    """An archive that is broken, or that would leave the root it is unpacked to."""


class EntryKind(Enum):
    """What an entry is."""

    FILE = "file"
    FOLDER = "folder"
    SYMLINK = "symlink"
    HARDLINK = "hardlink"
    CHARACTER = "character device"
    BLOCK = "block device"
    FIFO = "fifo"


class LayerEntry(msgspec.Struct, frozen=True):
    """One thing in a layer. ``target`` is a symbolic link's text, or the clean path that a hard link is to."""

    path: str
    kind: EntryKind
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    size: int = 0
    target: str = ""
    device: tuple[int, int] = (0, 0)
    xattrs: dict[str, bytes] = {}


class Whiteout(msgspec.Struct, frozen=True):
    """``path`` of lower layers is gone; what this layer itself has there stays."""

    path: str


class Opaque(msgspec.Struct, frozen=True):
    """What lower layers have in the folder ``path`` is gone; what this layer has there stays."""

    path: str


Member = LayerEntry | Whiteout | Opaque


class EntryContent:
    """The bytes of a file in a layer; to be read before the next member is asked for."""

    def __init__(self, archive: tarfile.TarFile, info: tarfile.TarInfo) -> None:
        self._archive = archive
        self._info = info

    def segments(self) -> Iterator[tuple[int, bytes]]:
        """Yield ``(offset, data)`` in rising order; what lies between is a hole. Raises InvalidLayer."""
        try:
            stream = cast(BinaryIO, self._archive.fileobj)
            stream.seek(self._info.offset_data)
            for offset, size in getattr(self._info, "sparse", None) or [(0, self._info.size)]:
                yield from _chunks(stream, offset, size)
        except (tarfile.TarError, ValueError, OverflowError) as error:
            if isinstance(error, OCIError):
                raise
            raise InvalidLayer(f"the content of {self._info.name!r} is broken: {error}") from error


def _chunks(stream: BinaryIO, offset: int, size: int) -> Iterator[tuple[int, bytes]]:
    end = offset + size
    while offset < end:
        data = stream.read(min(_CHUNK, end - offset))
        if not data:
            raise InvalidLayer("the archive ends in the middle of a file")
        yield offset, data
        offset += len(data)


def read_layer(stream: BinaryIO) -> Iterator[tuple[Member, EntryContent | None]]:
    """Yield the members of an uncompressed layer in their order, each file with its content.

    Raises InvalidLayer. What follows the end mark of the archive is left unread in ``stream``.
    """
    try:
        with tarfile.open(fileobj=stream, mode="r|", bufsize=_BUFFER, tarinfo=_BoundedTarInfo) as archive:
            while (info := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # or they would pile up
                member = _member(info)
                if member is not None:
                    has_content = isinstance(member, LayerEntry) and member.kind is EntryKind.FILE
                    yield member, EntryContent(archive, info) if has_content else None
    except (tarfile.TarError, ValueError, IndexError, OverflowError, RecursionError) as error:
        if isinstance(error, OCIError):
            raise
        raise InvalidLayer(f"not a layer: {error}") from error


class _BoundedTarInfo(tarfile.TarInfo):
    """Refuses headers that are broken (tarfile takes them for the end) or that would fill the memory.

    All releases of Python call these two for every header; ``frombuf`` is passed by since a security update of 3.11.
    """

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(archive)
        except (tarfile.EOFHeaderError, tarfile.EmptyHeaderError):  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise InvalidLayer(f"a header of the archive is broken: {error}") from error

    def _proc_member(self, archive: tarfile.TarFile) -> Self:
        extended = self.type in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
        long_name = self.type in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
        if (extended or long_name) and self.size > LARGEST_HEADER:
            raise InvalidLayer(f"a header of {self.size} bytes is too large: {LARGEST_HEADER} are allowed")
        if self.size < 0:
            raise InvalidLayer("a size in the archive is negative")
        return cast(Self, super()._proc_member(archive))  # type: ignore[misc]


_KINDS = {
    tarfile.DIRTYPE: EntryKind.FOLDER,
    tarfile.SYMTYPE: EntryKind.SYMLINK,
    tarfile.LNKTYPE: EntryKind.HARDLINK,
    tarfile.CHRTYPE: EntryKind.CHARACTER,
    tarfile.BLKTYPE: EntryKind.BLOCK,
    tarfile.FIFOTYPE: EntryKind.FIFO,
}
_TYPES = {kind: type_ for type_, kind in _KINDS.items()} | {EntryKind.FILE: tarfile.REGTYPE}


def _member(info: tarfile.TarInfo) -> Member | None:
    """Return what a header says; None for what a layer's reader skips (Docker's own marks at the root)."""
    path = clean_path(info.name)
    folder, name = posixpath.split(path)
    if name == OPAQUE_NAME:
        return Opaque(folder)
    if path.startswith(_META_PREFIX):
        return None
    if name.startswith(WHITEOUT_PREFIX):
        gone = name.removeprefix(WHITEOUT_PREFIX)
        if gone in ("", ".", ".."):
            raise InvalidLayer(f"{info.name!r} is not a whiteout")
        return Whiteout(posixpath.join(folder, gone))
    return _entry(path, info)


def _entry(path: str, info: tarfile.TarInfo) -> LayerEntry:
    kind = _KINDS.get(info.type, EntryKind.FILE)
    if info.issparse() and info.size > LARGEST_SPARSE_FILE:
        raise InvalidLayer(f"{path!r} claims to be a sparse file of {info.size} bytes")
    if not (0 <= info.uid <= LARGEST_ID and 0 <= info.gid <= LARGEST_ID):
        raise InvalidLayer(f"{path!r} has an impossible owner: {info.uid}:{info.gid}")
    if "\0" in info.linkname:
        raise InvalidLayer(f"the target of {path!r} has a zero byte")
    return LayerEntry(
        path=path,
        kind=kind,
        mode=info.mode & 0o7777,
        uid=info.uid,
        gid=info.gid,
        mtime_ns=_nanoseconds(info),
        size=info.size if kind is EntryKind.FILE else 0,
        target=clean_path(info.linkname)
        if kind is EntryKind.HARDLINK
        else info.linkname
        if kind is EntryKind.SYMLINK
        else "",
        device=(info.devmajor, info.devminor) if kind in (EntryKind.CHARACTER, EntryKind.BLOCK) else (0, 0),
        xattrs=_xattrs(info),
    )


def _nanoseconds(info: tarfile.TarInfo) -> int:
    """Return the modification time exactly: tarfile's floating point loses nanoseconds. 0 for one beyond all bounds."""
    whole, _, fraction = info.pax_headers.get("mtime", "").partition(".")
    time = int(info.mtime) * _NANOSECONDS
    if whole.lstrip("-").isdecimal() and (fraction.isdecimal() or not fraction):
        sign = -1 if whole.startswith("-") else 1
        time = int(whole) * _NANOSECONDS + sign * int(fraction[:9].ljust(9, "0"))
    return time if abs(time) <= _LATEST else 0


def _xattrs(info: tarfile.TarInfo) -> dict[str, bytes]:
    return {
        key.removeprefix(_XATTR_PREFIX): value.encode("utf-8", "surrogateescape")
        for key, value in info.pax_headers.items()
        if key.startswith(_XATTR_PREFIX)
    }


def shown(path: str) -> str:
    """Return a path as messages show it: quoted, and cut where a hostile archive makes it endless."""
    return repr(path if len(path) <= _LONGEST_SHOWN else f"{path[:_LONGEST_SHOWN]}..")


def clean_path(name: str) -> str:
    """Return ``name`` relative and clean; raises InvalidLayer when it leaves the root."""
    if "\0" in name:
        raise InvalidLayer(f"{shown(name)} has a zero byte")
    path = posixpath.normpath(name.lstrip("/")) if name.lstrip("/") else "."
    if path == ".." or path.startswith("../"):
        raise InvalidLayer(f"{shown(name)} leads out of the layer")
    return "" if path == "." else path


class LayerWriter:
    """Writes members as a tar archive that depends on nothing but them: PAX headers where ustar is too small.

    Times are cut to whole seconds, as docker does; no user names, no time of writing.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.is_empty = True

    def add(self, member: Member, content: BinaryIO | None = None) -> None:
        """Write ``member``; a file needs ``content`` of at least its size. Raises InvalidLayer."""
        self.is_empty = False
        if isinstance(member, LayerEntry):
            self._add_entry(member, content)
        elif isinstance(member, Opaque):
            self._write_header(tarfile.TarInfo(posixpath.join(member.path, OPAQUE_NAME)))
        else:
            folder, name = posixpath.split(member.path)
            self._write_header(tarfile.TarInfo(posixpath.join(folder, WHITEOUT_PREFIX + name)))

    def close(self) -> None:
        """Write the end mark; the stream stays open."""
        self._stream.write(bytes(2 * tarfile.BLOCKSIZE))

    def _add_entry(self, entry: LayerEntry, content: BinaryIO | None) -> None:
        info = tarfile.TarInfo(entry.path or "./")
        info.type = _TYPES[entry.kind]
        info.mode, info.uid, info.gid, info.size = entry.mode, entry.uid, entry.gid, entry.size
        info.mtime = entry.mtime_ns // _NANOSECONDS
        info.linkname = entry.target
        info.devmajor, info.devminor = entry.device
        info.pax_headers = {
            _XATTR_PREFIX + key: value.decode("utf-8", "surrogateescape") for key, value in sorted(entry.xattrs.items())
        }
        self._write_header(info)
        if entry.kind is EntryKind.FILE and entry.size:
            if content is None:
                raise InvalidLayer(f"{entry.path!r} has no content")
            self._copy(entry, content)

    def _write_header(self, info: tarfile.TarInfo) -> None:
        self._stream.write(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))

    def _copy(self, entry: LayerEntry, content: BinaryIO) -> None:
        left = entry.size
        while left:
            data = content.read(min(_CHUNK, left))
            if not data:
                raise InvalidLayer(f"{entry.path!r} became shorter while it was read: stop what writes to it first")
            self._stream.write(data)
            left -= len(data)
        self._stream.write(bytes(-entry.size % tarfile.BLOCKSIZE))
