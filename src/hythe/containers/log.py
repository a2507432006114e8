"""What a container wrote, as lines of JSON in docker's form: ``{"log": "..\\n", "stream": "stdout", "time": ".."}``.

A line longer than 16 KiB is kept in pieces; a piece does not end in a newline. What is not UTF-8 is replaced.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import msgspec

MAX_ENTRY_SIZE = 16 << 10
_POLL = 0.1  # seconds


class LogEntry(msgspec.Struct, frozen=True):
    """One line, or a piece of a long one; ``time`` is RFC 3339 with nanoseconds."""

    log: str
    stream: str
    time: str


class LogWriter:
    """Appends what a container writes to its log, line by line."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self._begun: dict[str, bytes] = {}
        self._cut = False

    def write(self, stream: str, data: bytes) -> None:
        """Add ``data`` of ``stream``; a line is written once it is complete."""
        data = self._begun.pop(stream, b"") + data
        lines = _split(data)
        if lines and not lines[-1].endswith(b"\n"):
            self._begun[stream] = lines.pop()
        pieces = [piece for line in lines for piece in _pieces(line)]
        rest = self._begun.get(stream, b"")
        while len(rest) > MAX_ENTRY_SIZE:
            pieces.append(rest[:MAX_ENTRY_SIZE])
            self._begun[stream] = rest = rest[MAX_ENTRY_SIZE:]
        self._append(stream, pieces)

    def _append(self, stream: str, pieces: list[bytes]) -> None:
        now = timestamp()
        entries = (LogEntry(piece.decode("utf-8", "replace"), stream, now) for piece in pieces)
        content = b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries)
        if self._cut:  # half a line is there already: this must not become its other half
            content = b"\n" + content
        with suppress(OSError):  # a full disk costs the log some lines, not the container its life
            self._cut = self._file.write(content) < len(content)

    def close(self) -> None:
        """Write what was begun, and close the file."""
        for stream, rest in self._begun.items():
            if rest:
                self._append(stream, [rest])
        self._file.close()


def _split(data: bytes) -> list[bytes]:
    """Split at newlines only: ``splitlines`` takes a carriage return for one, and progress bars are full of them."""
    lines = [line + b"\n" for line in data.split(b"\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines


def _pieces(line: bytes) -> Iterator[bytes]:
    for start in range(0, len(line), MAX_ENTRY_SIZE):
        yield line[start : start + MAX_ENTRY_SIZE]


def timestamp() -> str:
    """Return the time now, RFC 3339 in UTC with nanoseconds, so that texts sort as times."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def read_log(
    path: Path, tail: int | None = None, since: str = "", until: str = "", is_over: Callable[[], bool] | None = None
) -> Iterator[LogEntry]:
    """Yield the entries: those not before ``since`` and not after ``until``, of the last ``tail``.

    With ``is_over`` go on with what is written meanwhile, until it says so and all is read.
    """
    with _opened(path) as file:
        entries = _entries(file)
        for entry in entries if tail is None else deque(entries, tail):
            if entry.time >= since and not (until and entry.time > until):
                yield entry
        while is_over is not None and not (until and timestamp() > until):
            over = is_over()
            yield from _entries(file)
            if over:
                return
            time.sleep(_POLL)


def _opened(path: Path) -> BinaryIO:
    """Open a log; that of a container that has written nothing is empty."""
    return path.open("rb") if path.exists() else Path(os.devnull).open("rb")


def _entries(file: BinaryIO) -> Iterator[LogEntry]:
    """Yield the entries up to the end; a line that a crash or a full disk has cut off is no entry."""
    for line in _complete_lines(file):
        with suppress(msgspec.MsgspecError, UnicodeDecodeError):
            yield msgspec.json.decode(line, type=LogEntry)


def _complete_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines up to the end; one that is being written at the moment is left for the next time."""
    while line := file.readline():
        if not line.endswith(b"\n"):
            file.seek(-len(line), os.SEEK_CUR)
            return
        yield line
