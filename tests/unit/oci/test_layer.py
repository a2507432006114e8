"""Layers as values: what is read is what was written, and nothing broken or escaping is read."""

import contextlib
import io
import tarfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hythe.oci.layer import (
    MAX_HEADER_SIZE,
    MAX_ID,
    MAX_SPARSE_FILE_SIZE,
    EntryKind,
    InvalidLayer,
    LayerEntry,
    LayerWriter,
    Member,
    Opaque,
    Whiteout,
    clean_path,
    read_layer,
)

COMPONENT = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=120
).filter(lambda name: name not in (".", "..") and not name.startswith(".wh."))
PATH = st.lists(COMPONENT, min_size=1, max_size=4).map("/".join)
XATTRS = st.dictionaries(st.sampled_from(("user.a", "security.capability")), st.binary(max_size=40))
NUMBER = st.integers(0, 2**32)
OWNER = st.integers(0, MAX_ID)
COMMON = {"path": PATH, "mode": st.integers(0, 0o7777), "uid": OWNER, "gid": OWNER, "xattrs": XATTRS}
TIME = NUMBER.map(lambda seconds: seconds * 10**9)
ENTRY = st.one_of(
    st.builds(LayerEntry, kind=st.sampled_from((EntryKind.FOLDER, EntryKind.FIFO)), mtime_ns=TIME, **COMMON),
    st.builds(LayerEntry, kind=st.just(EntryKind.SYMLINK), target=PATH, mtime_ns=TIME, **COMMON),
    st.builds(LayerEntry, kind=st.just(EntryKind.HARDLINK), target=PATH, mtime_ns=TIME, **COMMON),
    st.builds(
        LayerEntry,
        kind=st.just(EntryKind.CHARACTER),
        device=st.tuples(st.integers(0, 255), st.integers(0, 255)),
        **COMMON,
    ),
)
MEMBER = st.one_of(ENTRY, st.builds(Whiteout, PATH), st.builds(Opaque, PATH))


def written(members: list[tuple[Member, bytes | None]]) -> bytes:
    stream = io.BytesIO()
    writer = LayerWriter(stream)
    for member, content in members:
        writer.add(member, None if content is None else io.BytesIO(content))
    writer.close()
    return stream.getvalue()


def archive(*infos: tuple[tarfile.TarInfo, bytes], **options: object) -> io.BytesIO:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", **options) as tar:  # type: ignore[call-overload]
        for info, content in infos:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    stream.seek(0)
    return stream


def read(data: bytes | io.BytesIO) -> list[tuple[Member, bytes | None]]:
    stream = io.BytesIO(data) if isinstance(data, bytes) else data
    return [(m, None if c is None else b"".join(part for _, part in c.segments())) for m, c in read_layer(stream)]


@given(st.lists(MEMBER, max_size=6))
def test_members_survive_writing_and_reading(members: list[Member]) -> None:
    """Every kind of member comes back as it was, long names, large ids and binary attributes included."""
    assert [(member, None) for member in members] == read(written([(member, None) for member in members]))


@given(path=PATH, content=st.binary(max_size=2000), xattrs=XATTRS)
def test_files_survive_writing_and_reading(path: str, content: bytes, xattrs: dict[str, bytes]) -> None:
    """A file comes back with its bytes."""
    entry = LayerEntry(path, EntryKind.FILE, 0o4755, 7, 8, 10**18, len(content), xattrs=xattrs)

    assert [(entry, content)] == read(written([(entry, content), (LayerEntry("z", EntryKind.FOLDER), None)]))[:1]


@given(st.lists(MEMBER, max_size=6))
def test_writing_is_reproducible_and_tarfile_reads_it(members: list[Member]) -> None:
    """The same members give the same bytes, which an independent reader understands."""
    pairs: list[tuple[Member, bytes | None]] = [(member, None) for member in members]

    with tarfile.open(fileobj=io.BytesIO(written(pairs))) as tar:
        assert len(members) == len(tar.getmembers())
    assert written(pairs) == written(pairs)


def with_headers(headers: dict[str, str]) -> tarfile.TarInfo:
    info = tarfile.TarInfo("a")
    info.pax_headers = headers
    return info


def test_times_keep_their_nanoseconds_when_read_and_lose_them_when_written() -> None:
    """PAX times are read exactly; docker writes whole seconds, and so do we."""
    info = with_headers({"mtime": "1700000000.123456789"})

    [(entry, _)] = read(archive((info, b""), format=tarfile.PAX_FORMAT))

    assert isinstance(entry, LayerEntry)
    assert entry.mtime_ns == 1_700_000_000_123_456_789
    [(entry, _)] = read(written([(entry, b"")]))
    assert entry.mtime_ns == 1_700_000_000_000_000_000  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("etc/.wh.passwd", Whiteout("etc/passwd")),
        (".wh.etc", Whiteout("etc")),
        ("./etc/.wh..wh..opq", Opaque("etc")),
        (".wh..wh..opq", Opaque("")),
        ("/a/./b/../.wh.c", Whiteout("a/c")),
    ],
)
def test_whiteouts_are_recognized(name: str, expected: Member) -> None:
    """Marks of deletion become values."""
    assert [(expected, None)] == read(archive((tarfile.TarInfo(name), b"")))


@pytest.mark.parametrize("name", [".wh..wh.plnk/1.2", ".wh..wh.aufs"])
def test_other_marks_at_the_root_are_skipped(name: str) -> None:
    """What docker's old storage left at a layer's root is no part of it."""
    assert read(archive((tarfile.TarInfo(name), b""))) == []


@pytest.mark.parametrize("name", ["../a", "a/../../b", "..", "/../a", "./../a", "a/.wh...", "a/.wh..", "a/.wh."])
def test_paths_that_leave_the_root_are_refused(name: str) -> None:
    """Neither an entry nor a whiteout can name anything outside."""
    with pytest.raises(InvalidLayer):
        read(archive((tarfile.TarInfo(name), b"")))


def test_hard_links_that_leave_the_root_are_refused() -> None:
    """A hard link's target is a path of the layer."""
    link = tarfile.TarInfo("a")
    link.type, link.linkname = tarfile.LNKTYPE, "../../etc/shadow"

    with pytest.raises(InvalidLayer, match="leads out"):
        read(archive((link, b"")))


@pytest.mark.parametrize(
    ("name", "clean"), [("/", ""), ("./", ""), ("//a//b/", "a/b"), ("a/./b/..", "a"), ("", ""), (" ", " ")]
)
def test_paths_are_cleaned(name: str, clean: str) -> None:
    """Paths are relative, without dots."""
    assert clean == clean_path(name)


def header(type_: bytes, size: int, name: str = "x") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = type_, size
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    "type_", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK]
)
def test_headers_that_would_fill_the_memory_are_refused(type_: bytes) -> None:
    """The size is refused before anything is read, however much follows."""
    with pytest.raises(InvalidLayer, match="too large"):
        read(header(type_, MAX_HEADER_SIZE + 1) + bytes(1024))


def sparse_header(real_size: int) -> bytes:
    buffer = bytearray(header(tarfile.GNUTYPE_SPARSE, 512))
    buffer[386:410] = b"%011o\0%011o\0" % (0, 512)
    buffer[483:495] = b"\x80" + real_size.to_bytes(11, "big")
    buffer[148:156] = b"        "
    buffer[148:156] = b"%06o\0 " % sum(buffer)
    return bytes(buffer)


@pytest.mark.parametrize("owner", [{"uid": "4294967295"}, {"gid": "-1"}, {"uid": "99999999999999999999"}])
def test_owners_that_no_file_can_have_are_refused(owner: dict[str, str]) -> None:
    """To the kernel -1 means "leave it": such a file would be root's."""
    with pytest.raises(InvalidLayer, match="invalid owner"):
        read(archive((with_headers(owner), b""), format=tarfile.PAX_FORMAT))


@pytest.mark.parametrize(
    ("time", "expected"), [("99999999999999999999", 0), ("-99999999999.5", 0), ("-5.25", -5_250_000_000)]
)
def test_times_beyond_all_bounds_are_no_time(time: str, expected: int) -> None:
    """As docker takes them: no file can have them."""
    [(member, _)] = read(archive((with_headers({"mtime": time}), b""), format=tarfile.PAX_FORMAT))

    assert isinstance(member, LayerEntry)
    assert member.mtime_ns == expected


def test_a_sparse_bomb_is_refused() -> None:
    """A file that claims to be larger than any real one is not made."""
    with pytest.raises(InvalidLayer, match="sparse"):
        read(sparse_header(MAX_SPARSE_FILE_SIZE + 1) + b"x" * 512 + bytes(1024))


def test_a_sparse_file_is_read_as_its_data_and_its_holes() -> None:
    """Only what is stored is read, at its place."""
    [(entry, content)] = list(read_layer_segments(sparse_header(1 << 30) + b"x" * 512 + bytes(1024)))

    assert entry.size == 1 << 30
    assert content == [(0, b"x" * 512)]


def read_layer_segments(data: bytes) -> list[tuple[LayerEntry, list[tuple[int, bytes]]]]:
    return [(m, list(c.segments())) for m, c in read_layer(io.BytesIO(data)) if isinstance(m, LayerEntry) and c]


def truncated(data: bytes) -> bytes:
    return data[:700]


def garbled(data: bytes) -> bytes:
    return data[:1024] + b"\x55" * 512 + data[1536:]


def not_tar(data: bytes) -> bytes:
    return b"\x1f\x8b" + data


@pytest.mark.parametrize("damage", [truncated, garbled, not_tar])
def test_broken_archives_are_refused(damage: Callable[[bytes], bytes]) -> None:
    """A broken archive is never taken for a short one."""
    data = written(
        [
            (LayerEntry("a", EntryKind.FILE, size=512), b"a" * 512),
            (LayerEntry("b", EntryKind.FILE, size=512), b"b" * 512),
        ]
    )

    with pytest.raises(InvalidLayer):
        read(damage(data))


def read_or_refused(data: bytes) -> bool:
    with contextlib.suppress(InvalidLayer):
        read(data)
    return True


@given(st.binary(max_size=3000))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """No input raises anything but InvalidLayer."""
    assert read_or_refused(data)


@given(st.integers(0, 2047), st.integers(0, 255))
def test_any_flipped_byte_is_read_or_refused(position: int, value: int) -> None:
    """A damaged archive raises nothing but InvalidLayer."""
    entry = LayerEntry("a" * 90 + "/" + "b" * 90, EntryKind.FILE, 0o644, 2**30, size=5, xattrs={"user.a": b"\xff\n1"})
    data = bytearray(written([(entry, b"hello")]))
    data[position % len(data)] = value

    assert read_or_refused(bytes(data))


def test_a_file_that_shrinks_while_it_is_packed_is_noticed() -> None:
    """The archive is never filled with invented bytes."""
    with pytest.raises(InvalidLayer, match="shrank"):
        LayerWriter(io.BytesIO()).add(LayerEntry("a", EntryKind.FILE, size=10), io.BytesIO(b"123"))


def test_a_chain_of_headers_is_refused_and_does_not_exhaust_the_stack() -> None:
    """Thousands of PAX headers in a row are no layer."""
    with pytest.raises(InvalidLayer):
        read((header(tarfile.XHDTYPE, 512) + b"12 path=abc\n".ljust(512, b"\0")) * 3000 + header(tarfile.REGTYPE, 0))
