"""Counters, gauges and histograms of this process.

They cost a few tenths of a microsecond, because the fastest responses take 24 µs in total: a series is looked up once
and then kept, and counting is one addition. Only the event loop's thread counts, so there is no lock. The server
exposes all of them; see ``server/metrics``.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, TypeAlias

LabelValues: TypeAlias = tuple[str, ...]
MetricKind: TypeAlias = Literal["counter", "gauge", "histogram"]
Combine: TypeAlias = Literal["add", "largest", "own"]
SeriesValues: TypeAlias = Sequence[float]
"""The value of a counter or gauge; of a histogram the sum, then how many values each bucket has, the last one +Inf."""

MetricsSnapshot: TypeAlias = dict[str, list[tuple[LabelValues, SeriesValues]]]
"""The series of all metrics by name."""


class Cell:
    """One series of a counter or gauge."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def add(self, amount: float = 1.0) -> None:
        """Add to the value."""
        self.value += amount

    def values(self) -> SeriesValues:
        """Return the series for a snapshot."""
        return (self.value,)


class BucketSeries:
    """One series of a histogram."""

    __slots__ = ("_bounds", "_counts", "_total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self._total += value
        self._counts[bisect_left(self._bounds, value)] += 1

    def values(self) -> SeriesValues:
        """Return the series for a snapshot."""
        return (self._total, *self._counts)


class Metric:
    """A named metric with labels.

    ``combine`` says how the values of several processes of one server become one: ``add``; ``largest`` for gauges that
    one process reads from the database; ``own`` for those that only the process knows that shows them.
    """

    kind: MetricKind = "gauge"

    def __init__(self, name: str, meaning: str, labels: Sequence[str] = (), combine: Combine = "add") -> None:
        """Register the metric; ``meaning`` becomes its help text."""
        self.name = name
        self.meaning = meaning
        self.labels = tuple(labels)
        self.combine = combine
        METRICS[name] = self

    def series(self) -> Iterator[tuple[LabelValues, SeriesValues]]:
        """Yield the values of each combination of labels."""
        raise NotImplementedError


class _CellMetric(Metric):
    def __init__(self, name: str, meaning: str, labels: Sequence[str] = (), combine: Combine = "add") -> None:
        super().__init__(name, meaning, labels, combine)
        self._cells: dict[LabelValues, Cell] = {}
        if not labels:
            self.cell()

    def cell(self, *values: str) -> Cell:
        """Return the series with these label values, which may be kept."""
        cell = self._cells.get(values)
        if cell is None:
            cell = self._cells[values] = Cell()
        return cell

    def series(self) -> Iterator[tuple[LabelValues, SeriesValues]]:
        """See Metric."""
        return ((values, cell.values()) for values, cell in self._cells.items())


class CounterMetric(_CellMetric):
    """A number that only grows; its name ends in ``_total``."""

    kind: MetricKind = "counter"

    def add(self, *values: str, amount: float = 1.0) -> None:
        """Add to the series with these label values."""
        self.cell(*values).value += amount


class GaugeMetric(_CellMetric):
    """A number that grows and shrinks."""

    def set(self, value: float, *values: str) -> None:
        """Set the series with these label values."""
        self.cell(*values).value = value

    def replace(self, values: Mapping[LabelValues, float]) -> None:
        """Set these series, and remove all others."""
        self._cells = {}
        for labels, value in values.items():
            self.set(value, *labels)


class HistogramMetric(Metric):
    """How often values fell into each bucket, and their sum."""

    kind: MetricKind = "histogram"

    def __init__(self, name: str, meaning: str, bounds: Sequence[float], labels: Sequence[str] = ()) -> None:
        """``bounds``: the upper bounds of the buckets, in rising order, without infinity."""
        super().__init__(name, meaning, labels)
        self.bounds = tuple(bounds)
        self._series: dict[LabelValues, BucketSeries] = {}
        if not labels:
            self.buckets()

    def buckets(self, *values: str) -> BucketSeries:
        """Return the series with these label values, which may be kept."""
        found = self._series.get(values)
        if found is None:
            found = self._series[values] = BucketSeries(self.bounds)
        return found

    def observe(self, value: float, *values: str) -> None:
        """Count a value in the series with these label values."""
        self.buckets(*values).observe(value)

    def series(self) -> Iterator[tuple[LabelValues, SeriesValues]]:
        """See Metric."""
        return ((values, found.values()) for values, found in self._series.items())


METRICS: dict[str, Metric] = {}
"""All metrics by name; ``metrics.py`` defines them."""

BEFORE_SNAPSHOT: list[Callable[[], None]] = []
"""Called before a snapshot: they set gauges that cost something to know."""


def snapshot() -> MetricsSnapshot:
    """Return what this process counted."""
    for prepare in BEFORE_SNAPSHOT:
        prepare()
    return {name: list(metric.series()) for name, metric in METRICS.items()}


def combined(own: MetricsSnapshot, others: Iterable[MetricsSnapshot]) -> MetricsSnapshot:
    """Return the snapshots of several processes as that of one server."""
    result: dict[str, dict[LabelValues, SeriesValues]] = {name: dict(series) for name, series in own.items()}
    for other in others:
        for name, series in other.items():
            metric = METRICS.get(name)
            if metric is None or metric.combine == "own":
                continue
            into = result.setdefault(name, {})
            for labels, values in series:
                into[labels] = _combined_values(metric, into.get(labels), values)
    return {name: list(series.items()) for name, series in result.items()}


def _combined_values(metric: Metric, first: SeriesValues | None, second: SeriesValues) -> SeriesValues:
    if first is None or len(first) != len(second):
        return second
    if metric.combine == "largest":
        return tuple(map(max, first, second))
    return tuple(a + b for a, b in zip(first, second, strict=True))
