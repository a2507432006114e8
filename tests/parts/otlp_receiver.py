"""A collector of traces: the server's side of OTLP over HTTP, which decodes what it gets and keeps it.

Strict about requests, after the specification: POST to /v1/traces, binary protobuf, perhaps compressed by gzip. The
responses are those of the specification, too: 200 with an empty ExportTraceServiceResponse.
"""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

PROTOBUF = "application/x-protobuf"


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """A span: ids in hexadecimal digits, as in a traceparent header; ``parent`` is "" for the root of a trace."""

    service: str
    name: str
    trace: str
    span: str
    parent: str
    attributes: dict[str, str | int]


@dataclass(slots=True)
class OTLPReceiver:
    """What was received, in the order of the requests."""

    endpoint: str = ""
    """For the setting ``otlp_endpoint``."""
    spans: list[ReceivedSpan] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """Requests that a collector would have refused."""

    def wait_for(self, wanted: Callable[[ReceivedSpan], bool], seconds: float = 30) -> ReceivedSpan:
        """Wait for a span: exporters send some seconds after it ended, and at the end of their process."""
        deadline = time.monotonic() + seconds
        while True:
            for span in list(self.spans):
                if wanted(span):
                    return span
            assert time.monotonic() < deadline, [(span.service, span.name) for span in self.spans]
            time.sleep(0.05)


@contextmanager
def running_otlp_receiver() -> Iterator[OTLPReceiver]:
    """Run a receiver until the block ends."""
    received = OTLPReceiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                spans = _spans(self.path, self.headers, body)
            except ValueError as error:
                received.problems.append(str(error))
                self._respond(400, b"")
                return
            received.spans.extend(spans)
            self._respond(200, b"")  # an ExportTraceServiceResponse without fields

        def _respond(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", PROTOBUF)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        received.endpoint = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield received
        finally:
            server.shutdown()
            thread.join()


def _spans(path: str, headers: Any, body: bytes) -> list[ReceivedSpan]:
    """Return the spans of a request. Raises ValueError if a collector would refuse it."""
    # Here, because all tests load this module.
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    if path != "/v1/traces":
        raise ValueError(f"traces are sent to /v1/traces, not {path}")
    if headers["Content-Type"] != PROTOBUF:
        raise ValueError(f"unknown Content-Type {headers['Content-Type']}")
    encoding = headers.get("Content-Encoding", "identity")
    if encoding not in ("identity", "gzip"):
        raise ValueError(f"unknown Content-Encoding {encoding}")
    try:
        request = ExportTraceServiceRequest.FromString(gzip.decompress(body) if encoding == "gzip" else body)
    except DecodeError as error:
        raise ValueError(str(error)) from error
    return [
        ReceivedSpan(
            service=str(_attributes(of_resource.resource.attributes)["service.name"]),
            name=span.name,
            trace=span.trace_id.hex(),
            span=span.span_id.hex(),
            parent=span.parent_span_id.hex(),
            attributes=_attributes(span.attributes),
        )
        for of_resource in request.resource_spans
        for of_scope in of_resource.scope_spans
        for span in of_scope.spans
    ]


def _attributes(pairs: Any) -> dict[str, str | int]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


@pytest.fixture
def otlp_receiver() -> Iterator[OTLPReceiver]:
    """A receiver for one test."""
    with running_otlp_receiver() as receiver:
        yield receiver
