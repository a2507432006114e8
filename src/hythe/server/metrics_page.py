"""``/metrics`` for Prometheus, on a port of its own, because it asks for no password."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.core import Metric as MetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from hythe.server.health import LIVE_PATH, READY_PATH, Health
from hythe.telemetry.instruments import (
    METRICS,
    HistogramMetric,
    LabelValues,
    MetricsSnapshot,
    SeriesValues,
)

METRICS_PATH = "/metrics"


def metrics_application(collect: Callable[[], MetricsSnapshot], health: Health) -> ASGIApp:
    """Return the application of the metrics port; ``collect`` returns the snapshot of the whole server.

    It may read files, so it is called in a thread.
    """

    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        await health.check()
        content = await asyncio.to_thread(lambda: encode(SnapshotRegistry(collect())))
        return Response(content, headers={"Content-Type": content_type})

    async def index(_request: Request) -> Response:
        return PlainTextResponse(f"hythe: see {METRICS_PATH}, {LIVE_PATH} and {READY_PATH}\n")

    return Starlette(
        routes=[
            Route("/", index),
            Route(METRICS_PATH, metrics),
            Route(LIVE_PATH, health.live),
            Route(READY_PATH, health.ready),
        ]
    )


class SnapshotRegistry(CollectorRegistry):
    """A snapshot in the form that prometheus-client encodes."""

    def __init__(self, values: MetricsSnapshot) -> None:
        super().__init__()
        self.register(_SnapshotCollector(values))


class _SnapshotCollector(Collector):
    def __init__(self, values: MetricsSnapshot) -> None:
        self._values = values

    def collect(self) -> Iterator[MetricFamily]:
        """Yield the families of all metrics."""
        for name, series in self._values.items():
            yield _family(name, series)


def _family(name: str, series: Sequence[tuple[LabelValues, SeriesValues]]) -> MetricFamily:
    metric = METRICS[name]
    if isinstance(metric, HistogramMetric):
        histogram = HistogramMetricFamily(name, metric.meaning, labels=metric.labels)
        bounds = [*(repr(float(bound)) for bound in metric.bounds), "+Inf"]
        for labels, (total, *counts) in series:
            histogram.add_metric(labels, list(zip(bounds, accumulate(counts), strict=True)), total)
        return histogram
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(name, metric.meaning, labels=metric.labels)
    for labels, (value,) in series:
        family.add_metric(labels, value)
    return family
