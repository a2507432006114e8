"""Looks at a server of several processes, and asks it on connections that any of them may accept."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.parts.hub import HytheServer


def children(pid: int) -> list[int]:
    """Return the processes that a process has started, oldest first."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_until(done: Callable[[], bool], server: HytheServer) -> None:
    """Wait until something is true."""
    end = time.monotonic() + 60
    while not done():
        assert time.monotonic() < end, server.log
        time.sleep(0.02)


def ask(
    server: HytheServer, path: str, method: str = "GET", body: Any = None, token: str = ""
) -> tuple[int, Any, bytes]:
    """Send a request on a connection of its own, which any process may accept; return status, headers and body."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{server.url}{path}", content, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()
