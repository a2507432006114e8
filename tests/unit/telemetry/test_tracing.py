"""Spans of requests, statements, blob store calls and builds, in OpenTelemetry's own exporter for tests."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import literal, select
from tests.parts.hub import HytheServer
from tests.parts.otlp_receiver import OTLPReceiver
from tests.security.registry_client import RegistryClient

from hythe.database import open_database
from hythe.server.tracing import traced_application, traced_blobs
from hythe.telemetry.request_record import RequestRecord, set_current_record
from hythe.telemetry.tracing import TracingUnavailable, current_trace_parent, tracing

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """What is recorded while the test runs."""
    exporter = InMemorySpanExporter()
    tracing.use(SimpleSpanProcessor(exporter), "test")
    yield exporter
    tracing.stop()


class Blobs:
    """A blob store with one blob."""

    async def stat(self, digest: str) -> str:
        return digest

    async def read(self, digest: str) -> Any:
        yield digest


def serve(application: Any, path: str = "/v2/alice/app/manifests/1") -> None:
    """Handle one request, which a trusted proxy's trace caused."""

    async def request() -> None:
        record = RequestRecord()
        record.trace_parent, record.status = PARENT, 200
        set_current_record(record)
        scope = {"type": "http", "method": "GET", "path": path, "query_string": b"secret=x", "headers": []}
        await traced_application(application)(scope, None, None)  # type: ignore[arg-type]

    asyncio.run(request())


def test_a_request_is_a_span_that_continues_the_trace_of_the_proxy(spans: InMemorySpanExporter) -> None:
    """Its name is the template of the route, so that there is no name for each repository."""

    async def application(*_: Any) -> None:
        """Do nothing."""

    serve(application)

    (span,) = spans.get_finished_spans()
    assert span.name == "GET /v2/{name}/manifests/{reference}"
    assert span.attributes is not None
    assert span.attributes["http.route"] == "/v2/{name}/manifests/{reference}"
    assert span.attributes["http.response.status_code"] == 200
    assert span.attributes["url.path"] == "/v2/alice/app/manifests/1"
    assert _parent(span) == PARENT.split("-")[2]
    assert f"{span.context.trace_id:032x}" == PARENT.split("-")[1]


def _parent(span: ReadableSpan) -> str:
    assert span.parent is not None
    return f"{span.parent.span_id:016x}"


def test_statements_and_blob_store_calls_are_below_the_request(spans: InMemorySpanExporter, tmp_path: Path) -> None:
    """Without the values of parameters."""

    async def application(*_: Any) -> None:
        database = await open_database(tmp_path)
        async with database.reading() as session:
            await session.row(select(literal("private value")))
        await database.close()
        blobs: Any = traced_blobs(Blobs())  # type: ignore[arg-type]
        assert await blobs.stat("x") == "x"
        assert [piece async for piece in blobs.read("y")] == ["y"]

    serve(application)

    *inner, request = spans.get_finished_spans()
    named = {span.name: span for span in inner}
    assert {"SELECT", "blob store: stat", "blob store: read"} <= set(named)
    assert {_parent(span) for span in inner} == {f"{request.context.span_id:016x}"}
    assert named["SELECT"].attributes is not None
    assert "private value" not in str([span.attributes for span in inner])
    assert "secret" not in str(request.attributes)


def test_a_build_continues_the_trace_of_the_request_that_started_it(spans: InMemorySpanExporter) -> None:
    """The row of the build carries the trace from the hub to the worker."""
    with tracing.span("POST /hooks/{id}", "server"):
        parent = current_trace_parent()
    with tracing.span("build", "consumer", parent):
        pass

    request, build = spans.get_finished_spans()
    assert build.context.trace_id == request.context.trace_id
    assert _parent(build) == f"{request.context.span_id:016x}"


def test_without_traces_nothing_is_wrapped_and_a_parent_is_passed_on() -> None:
    """A worker elsewhere may record spans where the hub does not."""
    blobs: Any = Blobs()
    record = RequestRecord()
    record.trace_parent = PARENT
    set_current_record(record)

    assert traced_blobs(blobs) is blobs
    assert traced_application(blobs) is blobs
    assert current_trace_parent() == PARENT
    with tracing.span("x") as span:
        assert span is None
    set_current_record(None)


def test_traces_that_are_not_configured_load_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The packages are optional."""
    for name in [name for name in sys.modules if name.startswith("opentelemetry.exporter")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)

    tracing.start("test", "")

    assert not tracing.enabled
    assert "opentelemetry.exporter.otlp.proto.http.trace_exporter" not in sys.modules


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs them."""
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)

    with pytest.raises(TracingUnavailable) as raised:
        tracing.start("test", "http://127.0.0.1:4318")

    assert "pip install 'hythe[telemetry]'" in raised.value.hint


def test_a_collector_gets_the_spans_of_each_process(
    start_hub: Callable[..., HytheServer], otlp_receiver: OTLPReceiver
) -> None:
    """Over OTLP, at the latest when the server stops; with the trace of a trusted proxy, and without values."""
    flags = ("--processes", "2", "--builds-workers", "0", "--trusted-proxies", "127.0.0.1")
    hub = start_hub([*flags, "--otlp-endpoint", otlp_receiver.endpoint])
    client, header = RegistryClient(hub.url), {"traceparent": PARENT}
    statuses = {client.status("GET", "/v2/alice/secret/manifests/1?x=private", header) for _ in range(20)}
    assert hub.stop() == 0

    assert statuses == {401}
    assert otlp_receiver.problems == []
    _, trace, caller, _ = PARENT.split("-")
    ours = [span for span in otlp_receiver.spans if span.trace == trace]
    requests = {span.span: span for span in ours if span.parent == caller}
    assert {span.name for span in requests.values()} == {"GET /v2/{name}/manifests/{reference}"}
    assert len(requests) == 20
    assert {span.attributes["http.response.status_code"] for span in requests.values()} == {401}
    assert any(span.name == "SELECT" and span.parent in requests for span in ours)
    assert "private" not in str(ours)
    assert {span.service for span in otlp_receiver.spans} == {"hythe"}
