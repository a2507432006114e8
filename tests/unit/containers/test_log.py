"""A container's log: JSON lines in docker's format."""

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hythe.containers.log import MAX_ENTRY_SIZE, LogWriter, read_log


def write(path: Path, *pieces: tuple[str, bytes]) -> None:
    writer = LogWriter(path)
    for stream, data in pieces:
        writer.write(stream, data)
    writer.close()


def test_lines_are_joined(tmp_path: Path) -> None:
    """Lines are complete however they arrived, per stream; an incomplete one is written at the end."""
    write(tmp_path / "log", ("stdout", b"on"), ("stderr", b"err\n"), ("stdout", b"e\ntwo\r\nthr"), ("stdout", b"ee"))
    entries = list(read_log(tmp_path / "log"))

    assert [(entry.stream, entry.log) for entry in entries] == [
        ("stderr", "err\n"),
        ("stdout", "one\n"),
        ("stdout", "two\r\n"),
        ("stdout", "three"),
    ]
    assert set(json.loads((tmp_path / "log").read_text().splitlines()[0])) == {"log", "stream", "time"}


@given(st.lists(st.text(max_size=30).map(str.encode), max_size=8))
def test_nothing_is_lost(tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]) -> None:
    """The joined entries are the output."""
    path = tmp_path_factory.mktemp("log") / "log"
    write(path, *(("stdout", piece) for piece in pieces))

    assert "".join(entry.log for entry in read_log(path)) == b"".join(pieces).decode()


def test_long_lines_are_split(tmp_path: Path) -> None:
    """An endless line does not fill the memory; only its last part ends with a newline."""
    write(tmp_path / "log", ("stdout", b"x" * (MAX_ENTRY_SIZE * 2)), ("stdout", b"y\n"))
    lengths = [len(entry.log) for entry in read_log(tmp_path / "log")]

    assert max(lengths) <= MAX_ENTRY_SIZE
    assert sum(lengths) == MAX_ENTRY_SIZE * 2 + 2


def test_tail_since_and_incomplete_lines(tmp_path: Path) -> None:
    """Only the last entries, only later ones; an incomplete line is left for later."""
    write(tmp_path / "log", ("stdout", b"1\n2\n3\n"))
    entries = list(read_log(tmp_path / "log"))
    with (tmp_path / "log").open("ab") as file:
        file.write(b'{"log": "ha')

    assert [entry.log for entry in read_log(tmp_path / "log", tail=2)] == ["2\n", "3\n"]
    assert list(read_log(tmp_path / "log", tail=0)) == []
    assert list(read_log(tmp_path / "log", since=entries[0].time)) == entries
    assert list(read_log(tmp_path / "log", since="2999")) == []
    assert list(read_log(tmp_path / "none")) == []


def test_following(tmp_path: Path) -> None:
    """New entries are yielded until the end; a line that arrived in two parts is one entry."""
    path = tmp_path / "log"
    write(path, ("stdout", b"before\n"))
    halves = iter([b'{"log":"half\\n","stream":"stdout",', b'"time":"2026"}\n'])
    rounds = iter([False, False, True])

    def is_over() -> bool:
        with path.open("ab") as file:
            file.write(next(halves, b""))
        return next(rounds)

    assert [entry.log for entry in read_log(path, is_over=is_over)] == ["before\n", "half\n"]


def test_a_line_truncated_by_a_crash_is_skipped(tmp_path: Path) -> None:
    """Entries before and after it are still read."""
    path = tmp_path / "log"
    path.write_bytes(b'{"log":"one\\n","stream":"stdout","time":"1"}\n{"log":"tw{"log":"x"}\n\xff\n')
    with path.open("ab") as file:
        file.write(b'{"log":"three\\n","stream":"stdout","time":"3"}\n')

    assert [entry.log for entry in read_log(path)] == ["one\n", "three\n"]


@pytest.mark.parametrize("room", [0, 20])
def test_a_full_disk_does_not_end_the_container(tmp_path: Path, room: int) -> None:
    """Lines are lost, possibly partially, and logging continues when there is space again."""
    path = tmp_path / "log"
    writer = LogWriter(path)
    writer.write("stdout", b"before\n")
    with files_no_larger_than(path.stat().st_size + room):
        writer.write("stdout", b"lost\n")
        writer.write("stdout", b"lost\n")
    writer.write("stdout", b"after\n")
    writer.close()

    assert [entry.log for entry in read_log(path)] == ["before\n", "after\n"]


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """Make writes beyond ``size`` fail, as on a full disk; what fits is written."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
