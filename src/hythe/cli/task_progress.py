"""The progress of one long task: a bar on a terminal, otherwise a line for each phase. It goes to stderr."""

import sys
import time
from types import TracebackType
from typing import Self, TextIO

from hythe.cli.units import human_size
from hythe.unbuffered import write_text

_REFRESH_SECONDS = 0.1
_BAR = 24


class TaskBar:
    """Shows a phase, how much of it is done, and how fast. Use it as a context manager."""

    def __init__(self, out: TextIO | None = None, *, quiet: bool = False) -> None:
        self._out = out or sys.stderr
        self._live = not quiet and self._out.isatty()
        self._quiet = quiet
        self._phase, self._unit = "", ""
        self._total: int | None = None
        self._done = 0
        self._began = self._drawn = 0.0

    def begin(self, phase: str, total: int | None = None, unit: str = "B") -> None:
        """End the phase before, and begin one of ``total`` units, None if that is unknown."""
        self._end()
        self._phase, self._total, self._unit, self._done = phase, total, unit, 0
        self._began = time.monotonic()

    def expect(self, total: int) -> None:
        """Set the total, which is known only now, or has grown."""
        self._total = total

    def advance(self, count: int) -> None:
        """Add units that are done."""
        self._done += count
        now = time.monotonic()
        if self._live and now - self._drawn > _REFRESH_SECONDS:
            self._drawn = now
            write_text(self._out, f"\r\x1b[2K{self._text(now)}")

    def _text(self, now: float) -> str:
        total = "" if self._total is None else f"/{self._amount(self._total)}"
        bar = ""
        if self._total:
            filled = min(_BAR, _BAR * self._done // self._total)
            bar = f" [{('=' * filled + '>')[:_BAR]:<{_BAR}}]"
        speed = self._done / max(now - self._began, 0.001)
        amount = f" {self._amount(self._done)}{total}  {self._amount(int(speed))}/s" if self._done or total else ""
        return f"{self._phase}:{bar}{amount}"

    def _amount(self, count: int) -> str:
        return human_size(count) if self._unit == "B" else f"{count} {self._unit}"

    def _end(self) -> None:
        if self._phase and not self._quiet:
            start = "\r\x1b[2K" if self._live else ""
            write_text(self._out, f"{start}{self._text(time.monotonic())}\n")
        self._phase = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
