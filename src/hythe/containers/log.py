"""A container's log as JSON lines in docker's format: ``{"log": "..\\n", "stream": "stdout", "time": ".."}``.

Lines longer than 16 KiB are split into entries without a newline. Invalid UTF-8 is replaced.
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
_POLL_INTERVAL = 0.1  # seconds


class LogEntry(msgspec.Struct, frozen=True):
    """A line, or part of a long one; ``time`` is RFC 3339 with nanoseconds."""

    log: str
    stream: str
    time: str


class LogWriter:
    """Appends a container's output to its log, line by line."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self._incomplete: dict[str, bytes] = {}
        self._truncated = False

    def write(self, stream: str, data: bytes) -> None:
        """Add ``data`` from ``stream``; lines are written once they are complete."""
        data = self._incomplete.pop(stream, b"") + data
        lines = _split(data)
        if lines and not lines[-1].endswith(b"\n"):
            self._incomplete[stream] = lines.pop()
        pieces = [piece for line in lines for piece in _pieces(line)]
        rest = self._incomplete.get(stream, b"")
        while len(rest) > MAX_ENTRY_SIZE:
            pieces.append(rest[:MAX_ENTRY_SIZE])
            self._incomplete[stream] = rest = rest[MAX_ENTRY_SIZE:]
        self._append(stream, pieces)

    def _append(self, stream: str, pieces: list[bytes]) -> None:
        now = timestamp()
        entries = (LogEntry(piece.decode("utf-8", "replace"), stream, now) for piece in pieces)
        content = b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries)
        if self._truncated:  # the last line in the file is incomplete: do not continue it
            content = b"\n" + content
        with suppress(OSError):  # a full disk loses log lines, but does not stop the container
            self._truncated = self._file.write(content) < len(content)

    def close(self) -> None:
        """Write incomplete lines and close the file."""
        for stream, rest in self._incomplete.items():
            if rest:
                self._append(stream, [rest])
        self._file.close()


def _split(data: bytes) -> list[bytes]:
    """Split at newlines only: ``splitlines`` also splits at carriage returns, which progress bars use."""
    lines = [line + b"\n" for line in data.split(b"\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines


def _pieces(line: bytes) -> Iterator[bytes]:
    for start in range(0, len(line), MAX_ENTRY_SIZE):
        yield line[start : start + MAX_ENTRY_SIZE]


def timestamp() -> str:
    """Return the current time in UTC as RFC 3339 with nanoseconds; sorts chronologically."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def read_log(
    path: Path, tail: int | None = None, since: str = "", until: str = "", is_over: Callable[[], bool] | None = None
) -> Iterator[LogEntry]:
    """Yield the entries between ``since`` and ``until`` among the last ``tail``.

    With ``is_over``, follow the log until it returns True and everything is read.
    """
    with _open_log(path) as file:
        entries = _entries(file)
        for entry in entries if tail is None else deque(entries, tail):
            if entry.time >= since and not (until and entry.time > until):
                yield entry
        while is_over is not None and not (until and timestamp() > until):
            over = is_over()
            yield from _entries(file)
            if over:
                return
            time.sleep(_POLL_INTERVAL)


def _open_log(path: Path) -> BinaryIO:
    """Open a log, which is empty if the container has not written anything."""
    return path.open("rb") if path.exists() else Path(os.devnull).open("rb")


def _entries(file: BinaryIO) -> Iterator[LogEntry]:
    """Yield the entries up to the end of the file; skips lines truncated by a crash or a full disk."""
    for line in _complete_lines(file):
        with suppress(msgspec.MsgspecError, UnicodeDecodeError):
            yield msgspec.json.decode(line, type=LogEntry)


def _complete_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines up to the end of the file; an incomplete one is left for the next call."""
    while line := file.readline():
        if not line.endswith(b"\n"):
            file.seek(-len(line), os.SEEK_CUR)
            return
        yield line
