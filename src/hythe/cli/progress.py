"""Progress of transfers: a line per layer with a bar, speed and time left; without a terminal, a line per state change.

Progress goes to stderr, so that stdout holds only data.
"""

import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self, TextIO

from hythe.cli.escaping import unfiltered
from hythe.cli.units import human_size
from hythe.client.progress import Reporter, TransferState
from hythe.control_characters import escape_line
from hythe.oci.manifest import DOCKER_CONFIG, OCI_CONFIG, OCI_EMPTY, Descriptor
from hythe.unbuffered import write_text

PULL_LABELS = {
    TransferState.WAITING: "Waiting",
    TransferState.EXISTS: "Already exists",
    TransferState.MOVING: "Downloading",
    TransferState.RETRYING: "Retrying",
    TransferState.MOUNTED: "Mounted from",
    TransferState.DONE: "Pull complete",
}
PUSH_LABELS = {
    TransferState.WAITING: "Waiting",
    TransferState.EXISTS: "Layer already exists",
    TransferState.MOVING: "Pushing",
    TransferState.RETRYING: "Retrying",
    TransferState.MOUNTED: "Mounted from",
    TransferState.DONE: "Pushed",
}
COPY_LABELS = {
    **PUSH_LABELS,
    TransferState.EXISTS: "Already exists",
    TransferState.MOVING: "Copying",
    TransferState.DONE: "Copied",
}
_REFRESH_SECONDS = 0.1
_SMOOTHING_SECONDS = 2.0
_BAR = 24


class LayerLine:
    """The progress and speed of one layer."""

    def __init__(self, layer: Descriptor) -> None:
        self.name = layer.parsed_digest.short
        self.size = layer.size
        self.state = TransferState.WAITING
        self.detail = ""
        self.moved = 0
        self.speed = 0.0
        self._seen = 0

    def measure(self, seconds: float) -> None:
        """Update the smoothed speed with the bytes of the last ``seconds``."""
        now = max(0, self.moved - self._seen) / seconds
        self._seen = self.moved
        weight = min(1.0, seconds / _SMOOTHING_SECONDS)
        self.speed = now if not self.speed else self.speed + (now - self.speed) * weight

    def text(self, labels: Mapping[TransferState, str], width: int) -> str:
        """Return the line, at most ``width`` characters."""
        line = f"{self.name}: {labels[self.state]}"
        if self.state is TransferState.MOVING:
            line += f" {self._bar()} {human_size(self.moved)}/{human_size(self.size)}{self._speed_and_time_left()}"
        elif self.detail:
            line += f" {self.detail}"
        return line[: width - 1]

    def _bar(self) -> str:
        filled = min(_BAR, _BAR * self.moved // max(self.size, 1))
        return f"[{('=' * filled + '>')[:_BAR]:<{_BAR}}]"

    def _speed_and_time_left(self) -> str:
        if self.speed < 1:
            return ""
        left = max(0, self.size - self.moved) / self.speed
        clock = f"{int(left // 60)}m{int(left % 60):02}s" if left >= 60 else f"{left:.0f}s"
        return f"  {human_size(self.speed)}/s  {clock} left"


class Display(Reporter):
    """A display that shows nothing, and the base class of the others. Use it as a context manager."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the display."""


class PlainDisplay(Display):
    """A line for each state change of a layer, for logs and pipes."""

    def __init__(self, labels: Mapping[TransferState, str], out: TextIO) -> None:
        self._labels = labels
        self._out = out
        self._shown: set[str] = set()
        self._lock = threading.Lock()

    def begin(self, contents: Sequence[Descriptor]) -> None:
        """Register the layers among the contents."""
        self._shown.update(content.digest for content in contents if is_layer(content))

    def state(self, content: Descriptor, state: TransferState, detail: str = "") -> None:
        """Print the new state."""
        if content.digest in self._shown or state is TransferState.RETRYING:
            line = f"{content.parsed_digest.short}: {self._labels[state]} {detail}".rstrip()
            with self._lock:
                write_text(self._out, f"{escape_line(line)}\n")


class TerminalDisplay(Display):
    """One line per layer, redrawn ten times a second."""

    def __init__(self, labels: Mapping[TransferState, str], out: TextIO) -> None:
        self._labels = labels
        self._out = unfiltered(out)
        self._lines: dict[str, LayerLine] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._drawn = 0
        self._thread = threading.Thread(target=self._draw_until_ended, daemon=True)

    def begin(self, contents: Sequence[Descriptor]) -> None:
        """Add a line for every layer."""
        with self._lock:
            for content in contents:
                if is_layer(content):
                    self._lines.setdefault(content.digest, LayerLine(content))

    def state(self, content: Descriptor, state: TransferState, detail: str = "") -> None:
        """Set the layer's state."""
        if line := self._lines.get(content.digest):
            line.state, line.detail = state, detail

    def advance(self, content: Descriptor, count: int) -> None:
        """Add transferred bytes."""
        if line := self._lines.get(content.digest):
            line.moved += count

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._draw()

    def _draw_until_ended(self) -> None:
        before = time.monotonic()
        while not self._ended.wait(_REFRESH_SECONDS):
            now = time.monotonic()
            for line in list(self._lines.values()):
                line.measure(now - before)
            before = now
            self._draw()

    def _draw(self) -> None:
        size = _terminal_size(self._out)
        with self._lock:
            lines = list(self._lines.values())
        shown = _choose_lines(lines, size.lines - 2)
        text = "".join(f"\x1b[2K{escape_line(line.text(self._labels, size.columns))}\n" for line in shown)
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        write_text(self._out, up + text)
        self._drawn = len(shown)


def _terminal_size(out: TextIO) -> os.terminal_size:
    try:
        return os.get_terminal_size(out.fileno())
    except OSError:  # not a terminal
        return os.terminal_size((80, 24))


def _choose_lines(lines: list[LayerLine], room: int) -> list[LayerLine]:
    """Return the lines that fit on the screen: active and waiting layers before finished ones."""
    if len(lines) <= room:
        return lines
    order = {TransferState.MOVING: 0, TransferState.RETRYING: 0, TransferState.WAITING: 1}
    chosen = sorted(lines, key=lambda line: order.get(line.state, 2))[:room]
    return [line for line in lines if line in chosen]


def make_display(labels: Mapping[TransferState, str], *, quiet: bool, out: TextIO | None = None) -> Display:
    """Return the display for the output: a terminal, a file or none."""
    out = out or sys.stderr
    if quiet:
        return Display()
    out.flush()  # the display writes past the stream's buffer
    return TerminalDisplay(labels, out) if out.isatty() else PlainDisplay(labels, out)


def is_layer(content: Descriptor) -> bool:
    """Whether the display shows this content. Image configurations are too small to show."""
    return content.media_type not in (OCI_CONFIG, DOCKER_CONFIG, OCI_EMPTY)
