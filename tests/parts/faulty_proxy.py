"""A proxy in front of a real server that fails on demand: cuts, stalls, corrupts, refuses.

It forwards the client's Host header, so that URLs in the server's responses also lead through the proxy.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

CHUNK = 64 * 1024
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "proxy-connection"}


@dataclass(slots=True)
class Fault:
    """A fault for the next `times` requests whose "METHOD /path?query" matches the regular expression `match`.

    Offsets count the bytes of the response body; `cut_upload_at` those of the request body.
    """

    match: str
    times: int = 1
    status: int | None = None
    """Answer this status at once, with `headers`, and never ask the server."""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_at: int | None = None
    """Close the connection after this many bytes."""
    stall_at: int | None = None
    """Send nothing for `stall_seconds` after this many bytes, then close the connection."""
    stall_seconds: float = 3600
    is_silent: bool = False
    """Neither ask the server nor answer for `stall_seconds`."""
    corrupt_at: int | None = None
    """Flip the bits of the byte at this offset."""
    cut_upload_at: int | None = None
    """Pass on this many bytes of the request's body, then close both connections."""
    bytes_per_second: int | None = None
    """Send the answer's body no faster than this."""


@dataclass(slots=True)
class FaultyProxy:
    """The proxy. `faults` can be added at any time; `requests` are the received ones, as "METHOD /path".

    `ranges` are the `Range` headers of the requests that had one, `sent` the bytes of all responses' bodies.
    """

    url: str
    upstream: str
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    sent: int = 0
    ended: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def host(self) -> str:
        """HOST:PORT, the first part of an image name."""
        return self.url.split("://")[1]

    def take(self, request: str) -> Fault | None:
        """Return the fault for a request, and count it down."""
        with self.lock:
            self.requests.append(request)
            for fault in self.faults:
                if fault.times > 0 and re.search(fault.match, request):
                    fault.times -= 1
                    return fault
        return None


class _Broken(Exception):
    """The connection to the client must be closed."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FaultyProxy

    def _serve(self) -> None:
        fault = self.proxy.take(f"{self.command} {self.path}") or Fault("")
        if asked := self.headers["Range"]:
            self.proxy.ranges.append(asked)
        try:
            if fault.is_silent:
                time.sleep(fault.stall_seconds)
                raise _Broken
            if fault.status is not None:
                self._refuse(fault)
            else:
                self._pass_on(fault)
        except (_Broken, OSError, http.client.HTTPException):
            self._hang_up()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

    def _refuse(self, fault: Fault) -> None:
        for _ in self._body():
            pass
        body = b'{"errors":[{"code":"UNAVAILABLE","message":"the faulty proxy says no"}]}'
        self.send_response(fault.status or 503)
        for name, value in {"Content-Type": "application/json", **fault.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _pass_on(self, fault: Fault) -> None:
        upstream = http.client.HTTPConnection(urlsplit(self.proxy.upstream).netloc, timeout=300)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():  # some come several times, Accept above all
                if name.lower() not in HOP_BY_HOP:
                    upstream.putheader(name, value)
            chunked = "chunked" in (self.headers["Transfer-Encoding"] or "")
            has_body = chunked or self.headers["Content-Length"] is not None
            body = _cut(self._body(), fault.cut_upload_at) if has_body else None
            if chunked:
                upstream.putheader("Transfer-Encoding", "chunked")
            upstream.endheaders(body, encode_chunked=chunked)
            self._answer(upstream.getresponse(), fault)
        finally:
            upstream.close()

    def _body(self) -> Iterator[bytes]:
        if "chunked" in (self.headers["Transfer-Encoding"] or ""):
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers["Content-Length"] or 0)
        while left > 0:
            piece = self.rfile.read1(min(CHUNK, left))
            if not piece:
                raise _Broken
            left -= len(piece)
            yield piece

    def _answer(self, answer: http.client.HTTPResponse, fault: Fault) -> None:
        self.send_response_only(answer.status, answer.reason)
        chunked = answer.getheader("Transfer-Encoding") == "chunked"
        for name, value in answer.getheaders():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        if chunked:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command == "HEAD" or answer.status in (204, 304):
            return
        for piece in self._spoiled(iter(lambda: answer.read1(CHUNK), b""), fault):
            self.wfile.write(piece)
            with self.proxy.lock:
                self.proxy.sent += len(piece)

    def _spoiled(self, pieces: Iterator[bytes], fault: Fault) -> Iterator[bytes]:
        offset = 0
        for piece in pieces:
            end = offset + len(piece)
            if fault.corrupt_at is not None and offset <= fault.corrupt_at < end:
                spot = fault.corrupt_at - offset
                piece = piece[:spot] + bytes([piece[spot] ^ 0xFF]) + piece[spot + 1 :]
            if fault.cut_at is not None and end >= fault.cut_at:
                yield piece[: fault.cut_at - offset]
                raise _Broken
            if fault.stall_at is not None and end >= fault.stall_at:
                yield piece[: fault.stall_at - offset]
                self.proxy.ended.wait(fault.stall_seconds)
                raise _Broken
            if fault.bytes_per_second:
                time.sleep(len(piece) / fault.bytes_per_second)
            yield piece
            offset = end

    def _hang_up(self) -> None:
        self.close_connection = True
        try:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def log_message(self, format: str, *arguments: object) -> None:
        """Do nothing: requests are in `FaultyProxy.requests`."""


def _cut(pieces: Iterator[bytes], at: int | None) -> Iterator[bytes]:
    sent = 0
    for piece in pieces:
        if at is not None and sent + len(piece) > at:
            yield piece[: at - sent]
            raise _Broken
        sent += len(piece)
        yield piece


@contextlib.contextmanager
def faulty_proxies() -> Iterator[Callable[[str], FaultyProxy]]:
    """Factory `start(url)`: a proxy in front of the server at `url`, at first without faults, until the block ends."""
    running: list[tuple[FaultyProxy, ThreadingHTTPServer]] = []

    def start(upstream: str) -> FaultyProxy:
        class Handler(_Handler):
            """A class per proxy, so that several can run."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        Handler.proxy = FaultyProxy(f"http://127.0.0.1:{server.server_port}", upstream)
        running.append((Handler.proxy, server))
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return Handler.proxy

    try:
        yield start
    finally:
        for proxy, server in running:
            proxy.ended.set()
            server.shutdown()
            server.server_close()


@pytest.fixture
def start_faulty_proxy() -> Iterator[Callable[[str], FaultyProxy]]:
    """Factory of proxies that run until the end of the test: see `faulty_proxies`."""
    with faulty_proxies() as start:
        yield start
