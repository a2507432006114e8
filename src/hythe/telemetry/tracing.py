"""OpenTelemetry traces, if they are configured. Otherwise nothing is imported, and each place costs one comparison."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from time import time_ns
from typing import TYPE_CHECKING, Any

from hythe.telemetry.request_record import current_record

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""Variables of OpenTelemetry that also configure traces."""

TRACES_PATH = "/v1/traces"

INSTALL = "pip install 'hythe[telemetry]'"


class TracingUnavailable(Exception):
    """Traces are configured, but the packages for them are missing."""

    def __init__(self) -> None:
        super().__init__("traces are configured, but the OpenTelemetry SDK is not installed")
        self.hint = f"{INSTALL}, or remove the setting otlp_endpoint and the variables {' and '.join(VARIABLES)}"


class Tracing:
    """The tracer of this process; ``enabled`` once ``start`` has configured it."""

    enabled = False

    def __init__(self) -> None:
        self._provider: TracerProvider | None = None
        self._tracer: Tracer | None = None

    def start(self, service: str, endpoint: str) -> None:
        """Export spans to the collector at ``endpoint``, or at that of OpenTelemetry's variables.

        Does nothing if neither is set. Call it in the process that records spans, not before a fork. Raises
        TracingUnavailable.
        """
        if not endpoint and not any(os.environ.get(name) for name in VARIABLES):
            return
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ModuleNotFoundError as error:
            raise TracingUnavailable from error
        url = endpoint.rstrip("/") + TRACES_PATH if endpoint and not endpoint.endswith(TRACES_PATH) else endpoint
        exporter = OTLPSpanExporter(endpoint=url) if url else OTLPSpanExporter()
        self.use(BatchSpanProcessor(exporter), service)

    def use(self, processor: Any, service: str) -> None:
        """Give all spans to an OpenTelemetry span processor."""
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider

        self._provider = TracerProvider(resource=Resource.create({"service.name": service}))
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("hythe")
        self.enabled = True

    def stop(self) -> None:
        """Export what is left, and record no more spans."""
        self.enabled = False
        if self._provider is not None:
            self._provider.shutdown()
            self._provider = self._tracer = None

    @contextmanager
    def span(self, name: str, kind: str = "internal", parent: str = "", **attributes: str | int) -> Iterator[Any]:
        """Record a span around the block, and yield it; yields None if traces are off.

        ``kind``: internal, server or client. ``parent``: a traceparent header; empty: the current span. Dots of names
        are written as ``__``: ``http__route="/v2/"``.
        """
        if self._tracer is None:
            yield None
            return
        from opentelemetry.trace import SpanKind

        with self._tracer.start_as_current_span(
            name,
            context=_context_of(parent) if parent else None,
            kind=SpanKind[kind.upper()],
            attributes={key.replace("__", "."): value for key, value in attributes.items()},
        ) as span:
            yield span

    def record(self, name: str, seconds: float, **attributes: str | int) -> None:
        """Record a span that has just ended, below the current one; nothing outside any, as in background tasks."""
        if self._tracer is None:
            return
        from opentelemetry.trace import SpanKind, get_current_span

        if not get_current_span().is_recording():
            return

        now = time_ns()
        span: Span = self._tracer.start_span(
            name,
            kind=SpanKind.CLIENT,
            start_time=now - int(seconds * 1e9),
            attributes={key.replace("__", "."): value for key, value in attributes.items()},
        )
        span.end(now)


tracing = Tracing()
"""That of this process."""


@contextmanager
def traces(service: str, endpoint: str) -> Iterator[None]:
    """Record spans of this process until the block ends, if they are configured. Raises TracingUnavailable."""
    tracing.start(service, endpoint)
    try:
        yield
    finally:
        tracing.stop()


def record_statement(text: str, seconds: float) -> None:
    """Record a database statement, without values."""
    operation = text.partition(" ")[0].upper()
    tracing.record(operation, seconds, db__query__text=text, db__operation__name=operation)


def current_trace_parent() -> str:
    """Return the traceparent header of the current span; that of the request if traces are off here, or nothing."""
    if tracing.enabled:
        from opentelemetry import propagate

        carrier: dict[str, str] = {}
        propagate.inject(carrier)
        return carrier.get("traceparent", "")
    record = current_record()
    return record.trace_parent if record is not None else ""


def _context_of(trace_parent: str) -> "Context":
    from opentelemetry import propagate

    return propagate.extract({"traceparent": trace_parent})
