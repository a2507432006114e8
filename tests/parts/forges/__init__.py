"""Fake forges: their APIs, written from the documentation and strict about the requests that they receive.

They keep accounts, tokens, repositories (of a real git server), webhooks, deploy keys and commit statuses, and send
webhooks. Each request that the real forge would reject as malformed is recorded in `FakeForge.violations`.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.parts.forges.bitbucket import FakeBitbucket
from tests.parts.forges.fake_forge import FakeForge
from tests.parts.forges.gitea import FakeGitea
from tests.parts.forges.github import FakeGitHub
from tests.parts.forges.gitlab import FakeGitLab
from tests.parts.forges.messages import ForgeRequest

FORGES: tuple[type[FakeForge], ...] = (FakeGitHub, FakeGitea, FakeGitLab, FakeBitbucket)
KINDS: dict[str, type[FakeForge]] = {forge.kind: forge for forge in FORGES}


class _Handler(BaseHTTPRequestHandler):
    forge: FakeForge

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        response = self.forge.handle(ForgeRequest(self.command, parts.path, query, headers, body))
        content = b"" if response.value is None else json.dumps(response.value).encode()
        self.send_response(response.status)
        for name, value in {"Content-Type": "application/json", **response.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        self.do_GET()

    def do_DELETE(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *arguments: object) -> None:
        """Log nothing: `FakeForge.requests` records the requests."""


@contextlib.contextmanager
def running_forge(kind: str | type[FakeForge]) -> Iterator[Any]:
    """Serve a fake forge on a free loopback port."""
    forge = (KINDS[kind] if isinstance(kind, str) else kind)()

    class Handler(_Handler):
        """A handler of its own for each forge, so that several can run."""

    Handler.forge = forge
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    forge.url = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield forge
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


@pytest.fixture(params=list(KINDS))
def forge(request: pytest.FixtureRequest) -> Iterator[FakeForge]:
    """Run the test with each forge."""
    with running_forge(request.param) as running:
        yield running
