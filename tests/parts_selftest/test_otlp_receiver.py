"""The receiver keeps what OpenTelemetry's own exporter sends, and refuses what is no OTLP."""

from __future__ import annotations

import urllib.error
import urllib.request

import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from tests.parts.otlp_receiver import OTLPReceiver


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_spans_are_kept(otlp_receiver: OTLPReceiver, compression: Compression) -> None:
    """With their ids, parents and attributes."""
    provider = TracerProvider(resource=Resource.create({"service.name": "me"}))
    exporter = OTLPSpanExporter(f"{otlp_receiver.endpoint}/v1/traces", compression=compression)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")

    with tracer.start_as_current_span("outer"), tracer.start_as_current_span("inner", attributes={"n": 1, "s": "x"}):
        pass
    provider.shutdown()

    inner, outer = otlp_receiver.spans
    assert (inner.service, inner.name, inner.attributes) == ("me", "inner", {"n": 1, "s": "x"})
    assert (inner.trace, inner.parent, outer.parent) == (outer.trace, outer.span, "")


@pytest.mark.parametrize(
    ("path", "kind", "body"),
    [
        ("/traces", "application/x-protobuf", b""),
        ("/v1/traces", "text/plain", b""),
        ("/v1/traces", "application/x-protobuf", b"\xff"),
    ],
)
def test_anything_else_is_refused(otlp_receiver: OTLPReceiver, path: str, kind: str, body: bytes) -> None:
    """Another path, another type, or no protobuf."""
    request = urllib.request.Request(f"{otlp_receiver.endpoint}{path}", body, {"Content-Type": kind})

    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(request, timeout=10)

    assert len(otlp_receiver.problems) == 1
    assert otlp_receiver.spans == []
