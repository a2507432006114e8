"""Layers: tar archives with whiteouts, as values and streams (image specification, "Image Layer Filesystem Changeset").

``read_layer`` parses a stream into members, ``LayerWriter`` writes members to a stream; neither touches a file system.

    Member = LayerEntry  a file, folder, link, device or pipe
           | Whiteout    deletes a path of lower layers (``.wh.NAME``)
           | Opaque      deletes the content of a folder in lower layers (``.wh..wh..opq``)

Paths are relative and normalized: no leading ``/``, no ``.`` or ``..``; the root is ``""``. Paths that leave the root
are invalid. Names that are not UTF-8 are decoded with surrogateescape.
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
_BUFFER = 64 << 10  # tarfile copies its remaining content on every read
MAX_HEADER_SIZE = 1 << 20
"""Maximum bytes of a PAX header or a GNU long name, which are kept in memory."""
MAX_SPARSE_FILE_SIZE = 1 << 40
"""Maximum size of a sparse file."""
MAX_ID = 2**32 - 2
"""The largest user or group ID: the kernel reads the next one as "do not change"."""
_LONGEST_SHOWN = 200
_NANOSECONDS = 1_000_000_000
_LATEST = 2**63 - 1  # nanoseconds: docker ignores later times, too


class InvalidLayer(OCIError):
    """The archive is damaged, or a path leaves the root."""


class EntryKind(Enum):
    """The type of an entry."""

    FILE = "file"
    FOLDER = "folder"
    SYMLINK = "symlink"
    HARDLINK = "hardlink"
    CHARACTER = "character device"
    BLOCK = "block device"
    FIFO = "fifo"


class LayerEntry(msgspec.Struct, frozen=True):
    """An entry of a layer. ``target``: a symbolic link's text, or the normalized path of a hard link's target."""

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
    """Deletes ``path`` of lower layers; the layer's own ``path`` stays."""

    path: str


class Opaque(msgspec.Struct, frozen=True):
    """Deletes the content of folder ``path`` in lower layers; the layer's own content stays."""

    path: str


Member = LayerEntry | Whiteout | Opaque


class EntryContent:
    """The content of a file in a layer; read it before the next member."""

    def __init__(self, archive: tarfile.TarFile, info: tarfile.TarInfo) -> None:
        self._archive = archive
        self._info = info

    def segments(self) -> Iterator[tuple[int, bytes]]:
        """Yield ``(offset, data)`` in ascending order; gaps are holes. Raises InvalidLayer."""
        try:
            stream = cast(BinaryIO, self._archive.fileobj)
            stream.seek(self._info.offset_data)
            for offset, size in getattr(self._info, "sparse", None) or [(0, self._info.size)]:
                yield from _chunks(stream, offset, size)
        except (tarfile.TarError, ValueError, OverflowError) as error:
            if isinstance(error, OCIError):
                raise
            raise InvalidLayer(f"the content of {self._info.name!r} is damaged: {error}") from error


def _chunks(stream: BinaryIO, offset: int, size: int) -> Iterator[tuple[int, bytes]]:
    end = offset + size
    while offset < end:
        data = stream.read(min(_CHUNK, end - offset))
        if not data:
            raise InvalidLayer("the archive ends in the middle of a file")
        yield offset, data
        offset += len(data)


def read_layer(stream: BinaryIO) -> Iterator[tuple[Member, EntryContent | None]]:
    """Yield the members of an uncompressed layer in order, each file with its content.

    Raises InvalidLayer. Leaves data after the archive's end mark unread in ``stream``.
    """
    try:
        with tarfile.open(fileobj=stream, mode="r|", bufsize=_BUFFER, tarinfo=BoundedTarInfo) as archive:
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


class BoundedTarInfo(tarfile.TarInfo):
    """Rejects headers that are damaged (tarfile would treat them as the end) or too large for memory.

    All versions of Python call these two for each header; since a security update of 3.11, ``frombuf`` is bypassed.
    """

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(archive)
        except (tarfile.EOFHeaderError, tarfile.EmptyHeaderError):  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise InvalidLayer(f"a header of the archive is damaged: {error}") from error

    def _proc_member(self, archive: tarfile.TarFile) -> Self:
        extended = self.type in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
        long_name = self.type in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
        if (extended or long_name) and self.size > MAX_HEADER_SIZE:
            raise InvalidLayer(f"a header of {self.size} bytes is too large: at most {MAX_HEADER_SIZE} are allowed")
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
    """Return the member of a header; None for entries that readers skip (Docker's own markers at the root)."""
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
    if info.issparse() and info.size > MAX_SPARSE_FILE_SIZE:
        raise InvalidLayer(f"{path!r} claims to be a sparse file of {info.size} bytes")
    if not (0 <= info.uid <= MAX_ID and 0 <= info.gid <= MAX_ID):
        raise InvalidLayer(f"{path!r} has an invalid owner: {info.uid}:{info.gid}")
    if "\0" in info.linkname:
        raise InvalidLayer(f"the target of {path!r} contains a NUL byte")
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
    """Return the exact modification time, because tarfile's float loses nanoseconds; 0 if out of range."""
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
    """Return a path for messages: quoted, and cut if it is too long."""
    return repr(path if len(path) <= _LONGEST_SHOWN else f"{path[:_LONGEST_SHOWN]}..")


def clean_path(name: str) -> str:
    """Return ``name`` relative and normalized. Raises InvalidLayer if it leaves the root."""
    if "\0" in name:
        raise InvalidLayer(f"{shown(name)} contains a NUL byte")
    path = posixpath.normpath(name.lstrip("/")) if name.lstrip("/") else "."
    if path == ".." or path.startswith("../"):
        raise InvalidLayer(f"{shown(name)} leads out of the layer")
    return "" if path == "." else path


class LayerWriter:
    """Writes members as a deterministic tar archive, with PAX headers where ustar is too small.

    Times are cut to seconds, as docker does; user names and the time of writing are left out.
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
        """Write the end mark; leaves the stream open."""
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
                raise InvalidLayer(f"{entry.path!r} shrank while it was read: stop the program that writes to it")
            self._stream.write(data)
            left -= len(data)
        self._stream.write(bytes(-entry.size % tarfile.BLOCKSIZE))
