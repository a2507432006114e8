"""Files with holes: read without reading the holes, written without storing zeros."""

import errno
import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from hythe.containers.sparse import BLOCK, SparseReader, write_sparse

SIZE = 8 * BLOCK + 100

LAYOUTS: dict[str, tuple[tuple[int, int], ...]] = {
    "no data": (),
    "data at the start": ((0, 10),),
    "data at the end": ((SIZE - 10, SIZE),),
    "two islands": ((BLOCK, 2 * BLOCK), (5 * BLOCK + 7, 6 * BLOCK)),
    "all data": ((0, SIZE),),
}
"""Where the files have bytes other than zero: (start, end)."""


@pytest.fixture(params=LAYOUTS)
def content(request: pytest.FixtureRequest) -> bytes:
    """Return what a file contains."""
    data = bytearray(SIZE)
    for start, end in LAYOUTS[request.param]:
        data[start:end] = b"x" * (end - start)
    return bytes(data)


@pytest.fixture
def file(tmp_path: Path, content: bytes) -> Iterator[int]:
    """Write the file with holes, in pieces, and open it."""
    path = tmp_path / "file"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        for start, end in pairwise((0, 3 * BLOCK, 3 * BLOCK + 1, SIZE)):
            write_sparse(descriptor, start, content[start:end])
        os.ftruncate(descriptor, SIZE)
        yield descriptor
    finally:
        os.close(descriptor)


def read_all(descriptor: int, size: int = 3 * BLOCK) -> bytes:
    """Read in pieces of ``size`` bytes."""
    reader = SparseReader(descriptor)
    return b"".join(iter(lambda: reader.read(size), b""))


@pytest.mark.parametrize("size", [1000, BLOCK, 16 * BLOCK])
def test_what_was_written_is_read(file: int, content: bytes, size: int) -> None:
    """Whatever the pieces are."""
    assert read_all(file, size) == content


def test_zeros_use_no_disk(file: int, content: bytes) -> None:
    """Blocks without other bytes are holes."""
    used = sum(any(content[start : start + BLOCK]) for start in range(0, SIZE, BLOCK))
    assert os.fstat(file).st_blocks * 512 <= (used + 1) * BLOCK


def test_holes_are_not_read(file: int, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only data is read from disk."""
    read: list[int] = []
    original = os.pread

    def counted(descriptor: int, size: int, offset: int) -> bytes:
        data = original(descriptor, size, offset)
        read.append(len(data))
        return data

    monkeypatch.setattr(os, "pread", counted)
    read_all(file)

    assert sum(read) <= os.fstat(file).st_blocks * 512


def test_a_file_system_that_cannot_tell_holes_is_read_whole(
    file: int, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some do not support SEEK_DATA."""

    def refuse(descriptor: int, offset: int, whence: int) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "lseek", refuse)
    assert read_all(file) == content


def test_a_file_that_shrinks_ends_early(file: int, content: bytes) -> None:
    """The writer of the layer reports it."""
    reader = SparseReader(file)
    first = reader.read(BLOCK)
    os.ftruncate(file, BLOCK)

    assert first == content[: len(first)]
    rest = b"".join(iter(lambda: reader.read(BLOCK), b""))
    assert len(first) + len(rest) < SIZE
