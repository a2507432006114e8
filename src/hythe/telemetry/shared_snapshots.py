"""The metrics of processes that serve together, in memory that they share, so that any of them can show the sums.

The memory has a slot for each process. A process writes its snapshot there now and then. One that replaces a dead one
gets its slot and continues its counters, which must never become smaller.
"""

import mmap
import struct
from collections.abc import Iterator
from time import monotonic

import msgspec

from hythe.telemetry.instruments import METRICS, MetricsSnapshot, combined, snapshot

SLOT_SIZE = 4 << 20
"""Bytes for the snapshot of one process; memory is used only for what was written."""

WRITE_INTERVAL = 2.0
"""Seconds between two writes."""

MAX_AGE = 10.0
"""Seconds after which the process that wrote a slot is assumed dead: its gauges count no more, its counters do."""

_HEADER = struct.Struct("=QQd")
"""A number that is odd during a write, the length of the snapshot, and when it was written (monotonic clock)."""

_ATTEMPTS = 5


class SharedSnapshots:
    """The slots of all processes, created before they are forked."""

    def __init__(self, processes: int) -> None:
        self._memory = mmap.mmap(-1, processes * SLOT_SIZE)
        self._processes = processes

    def read(self, number: int) -> tuple[float, MetricsSnapshot] | None:
        """Return what process ``number`` wrote, and when; None if it has written nothing, or died while it wrote."""
        start = number * SLOT_SIZE
        for _ in range(_ATTEMPTS):
            version, length, at = _HEADER.unpack_from(self._memory, start)
            content = self._memory[start + _HEADER.size : start + _HEADER.size + length]
            if version % 2 == 0 and version == _HEADER.unpack_from(self._memory, start)[0]:
                return (at, msgspec.msgpack.decode(content, type=MetricsSnapshot)) if length else None
        return None

    def write(self, number: int, values: MetricsSnapshot) -> bool:
        """Replace the snapshot of process ``number``; return False if it is too large."""
        content = msgspec.msgpack.encode(values)
        start = number * SLOT_SIZE
        if len(content) > SLOT_SIZE - _HEADER.size:
            return False
        version = _HEADER.unpack_from(self._memory, start)[0] | 1
        _HEADER.pack_into(self._memory, start, version, 0, 0.0)
        self._memory[start + _HEADER.size : start + _HEADER.size + len(content)] = content
        _HEADER.pack_into(self._memory, start, version + 1, len(content), monotonic())
        return True

    def of_others(self, number: int) -> Iterator[MetricsSnapshot]:
        """Yield the snapshots of all processes but ``number``; without gauges if the process has died."""
        for other in range(self._processes):
            found = self.read(other) if other != number else None
            if found is not None:
                at, values = found
                yield values if monotonic() - at < MAX_AGE else without_gauges(values)


class ProcessMetrics:
    """The metrics of this process, and of those that serve together with it."""

    def __init__(self, shared: SharedSnapshots | None = None, number: int = 0) -> None:
        """``shared``: None if this process serves alone; ``number``: which one it is."""
        self._shared = shared
        self._number = number
        before = shared.read(number) if shared is not None else None
        self._before = without_gauges(before[1]) if before is not None else None

    def own(self) -> MetricsSnapshot:
        """Return the metrics of this process and of the dead ones that it replaced."""
        values = snapshot()
        return values if self._before is None else combined(values, [self._before])

    def all(self) -> MetricsSnapshot:
        """Return the metrics of the whole server."""
        own = self.own()
        return own if self._shared is None else combined(own, self._shared.of_others(self._number))

    def publish(self) -> bool:
        """Show the metrics of this process to the others; return False if they are too large for that."""
        return self._shared is None or self._shared.write(self._number, self.own())


def without_gauges(values: MetricsSnapshot) -> MetricsSnapshot:
    """Return only counters and histograms: gauges say how things are now."""
    return {name: series for name, series in values.items() if name in METRICS and METRICS[name].kind != "gauge"}
