"""Stand-ins of the forges' APIs, written from their documentation and strict about what they are sent.

They keep accounts, tokens, repositories (a real git server's), webhooks, deploy keys and commit statuses, and send
webhooks as the forges do. Whatever a forge would not take is refused and noted in `Forge.violations`.
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
from tests.parts.forges.bitbucket import BitbucketForge
from tests.parts.forges.forge import Asked, Forge
from tests.parts.forges.gitea import GiteaForge
from tests.parts.forges.github import GitHubForge
from tests.parts.forges.gitlab import GitLabForge

KINDS: dict[str, type[Forge]] = {
    "github": GitHubForge,
    "gitea": GiteaForge,
    "gitlab": GitLabForge,
    "bitbucket": BitbucketForge,
}


class _Handler(BaseHTTPRequestHandler):
    forge: Forge

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        reply = self.forge.answer(Asked(self.command, parts.path, query, headers, body))
        content = b"" if reply.value is None else json.dumps(reply.value).encode()
        self.send_response(reply.status)
        for name, value in {"Content-Type": "application/json", **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        self.do_GET()

    def do_DELETE(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing: requests are kept in `Forge.requests`."""


@contextlib.contextmanager
def running_forge(kind: str) -> Iterator[Any]:
    """Serve a stand-in of this kind on a free loopback port."""
    forge = KINDS[kind]()

    class Handler(_Handler):
        """Knows its own forge, so that several may run."""

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
def forge(request: pytest.FixtureRequest) -> Iterator[Forge]:
    """Each forge in turn."""
    with running_forge(request.param) as running:
        yield running
