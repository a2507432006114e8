"""Counters, gauges and histograms, and their sums over several processes."""

import os
from collections.abc import Iterator

import pytest

from hythe.telemetry.instruments import (
    METRICS,
    CounterMetric,
    GaugeMetric,
    HistogramMetric,
    combined,
    snapshot,
)
from hythe.telemetry.shared_snapshots import SLOT_SIZE, ProcessMetrics, SharedSnapshots, without_gauges


@pytest.fixture(autouse=True)
def own_metrics() -> Iterator[None]:
    """Forget the metrics that a test defines."""
    before = dict(METRICS)
    yield
    METRICS.clear()
    METRICS.update(before)


def test_a_histogram_counts_each_value_in_its_bucket() -> None:
    """A value that is equal to a bound is in its bucket, as Prometheus defines it; larger ones are in the last."""
    metric = HistogramMetric("test_seconds", "x", (0.1, 1.0))

    for value in (0.05, 0.1, 0.5, 7):
        metric.observe(value)

    assert dict(metric.series()) == {(): (7.65, 2, 1, 1)}


def test_a_replaced_gauge_has_only_the_new_series() -> None:
    """Series that are gone are not shown with their last value."""
    metric = GaugeMetric("test_gauge", "x", ("kind",))
    metric.set(1, "old")

    metric.replace({("new",): 2})

    assert dict(metric.series()) == {("new",): (2,)}


def test_processes_are_combined_as_each_metric_says() -> None:
    """Counters and histograms are added up, gauges as well or the largest counts, and some are not shared."""
    counter = CounterMetric("test_total", "x", ("kind",))
    histogram = HistogramMetric("test_seconds", "x", (1.0,))
    added, largest = GaugeMetric("test_added", "x"), GaugeMetric("test_largest", "x", (), "largest")
    own = GaugeMetric("test_own", "x", (), "own")
    counter.add("a", amount=2)
    histogram.observe(0.5)
    for gauge in (added, largest, own):
        gauge.set(3)
    first = snapshot()
    counter.add("b")
    histogram.observe(2)
    for gauge in (added, largest, own):
        gauge.set(2)

    result = {name: dict(series) for name, series in combined(first, [snapshot()]).items()}

    assert result["test_total"] == {("a",): (4,), ("b",): (1,)}
    assert result["test_seconds"] == {(): (3.0, 2, 1)}
    assert result["test_added"] == {(): (5,)}
    assert result["test_largest"] == {(): (3,)}
    assert result["test_own"] == {(): (3,)}


def test_a_forked_process_shows_its_metrics_to_the_others() -> None:
    """What one process counts is in the numbers of another, and stays there after its death."""
    counter, gauge = CounterMetric("test_total", "x"), GaugeMetric("test_gauge", "x")
    shared = SharedSnapshots(2)
    if (child := os.fork()) == 0:
        counter.add(amount=5)
        gauge.set(7)
        os._exit(0 if ProcessMetrics(shared, 1).publish() else 1)
    assert os.waitpid(child, 0)[1] == 0
    counter.add()
    gauge.set(1)

    shown = {name: dict(series) for name, series in ProcessMetrics(shared, 0).all().items()}

    assert shown["test_total"] == {(): (6,)}
    assert shown["test_gauge"] == {(): (8,)}


def test_a_process_goes_on_from_the_counters_of_the_one_that_it_replaces() -> None:
    """A counter never becomes smaller; what was true of the dead process alone is forgotten."""
    counter, gauge = CounterMetric("test_total", "x"), GaugeMetric("test_gauge", "x")
    shared = SharedSnapshots(1)
    counter.add(amount=5)
    gauge.set(7)
    ProcessMetrics(shared, 0).publish()
    counter.cell().value = gauge.cell().value = 0.0

    replaced = ProcessMetrics(shared, 0)
    counter.add()
    shown = {name: dict(series) for name, series in replaced.all().items()}

    assert shown["test_total"] == {(): (6,)}
    assert shown["test_gauge"] == {(): (0,)}


def test_a_snapshot_that_is_too_large_is_not_written() -> None:
    """The next slot belongs to another process."""
    shared = SharedSnapshots(2)

    assert not shared.write(0, {"x": [(("a" * SLOT_SIZE,), (1.0,))]})
    assert shared.read(0) is None
    assert shared.read(1) is None


def test_gauges_of_a_dead_process_are_left_out() -> None:
    """Only what it counted stays true."""
    CounterMetric("test_total", "x")
    GaugeMetric("test_gauge", "x")
    values = snapshot()

    left = without_gauges(values)

    assert "test_total" in left
    assert "test_gauge" not in left
