"""The worker's loop, with a hub whose claims wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from hythe.client.errors import Unreachable
from hythe.worker import worker as worker_module
from hythe.worker.hub_api import HubAPI
from hythe.worker.isolation.selection import Isolation
from hythe.worker.worker import Worker


class WaitingHub(ThreadingHTTPServer):
    """Answers the first claim with 204 at once; later claims wait until the test ends."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.claims = 0
        self.waiting = threading.Event()
        self.ended = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: WaitingHub

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.claims += 1
        if self.server.claims > 1:
            self.server.waiting.set()
            self.server.ended.wait()
            self.close_connection = True
            return
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


@pytest.fixture
def hub() -> Iterator[WaitingHub]:
    """A hub on its own port."""
    with WaitingHub() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.ended.set()
        server.shutdown()
        thread.join()


def test_stopping_interrupts_a_waiting_claim(hub: WaitingHub, tmp_path: Path) -> None:
    """The worker ends within a second, and reports no failed claim."""
    isolation = Isolation(tmp_path, first=0, groups=False, images=False, networks=frozenset())
    reports: list[str] = []
    worker = Worker(f"http://127.0.0.1:{hub.server_port}", "token", isolation, reports.append)
    thread = threading.Thread(target=worker.run)
    thread.start()
    assert hub.waiting.wait(10)
    before = time.monotonic()

    worker.stop()
    thread.join(10)

    assert not thread.is_alive()
    assert time.monotonic() - before < 1
    assert reports == []


@pytest.mark.parametrize("stops", [True, False])
def test_a_failed_claim_is_reported_unless_the_worker_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stops: bool
) -> None:
    """A hub that stops refuses connections some moments before its worker has stopped, too."""
    failed, report = threading.Event(), threading.Event()

    def claim(*_: object) -> None:
        failed.set()
        raise Unreachable("the hub does not respond")

    monkeypatch.setattr(HubAPI, "claim", claim)
    monkeypatch.setattr(worker_module, "RETRY_DELAY", 3600 if stops else 0.001)
    isolation = Isolation(tmp_path, first=0, groups=False, images=False, networks=frozenset())
    reports: list[str] = []
    worker = Worker("http://127.0.0.1:9", "token", isolation, lambda text: (reports.append(text), report.set())[0])
    thread = threading.Thread(target=worker.run)
    thread.start()
    assert (failed if stops else report).wait(10)

    worker.stop()
    thread.join(10)

    assert not thread.is_alive()
    assert set(reports) == (set() if stops else {"cannot claim a build: the hub does not respond"})
