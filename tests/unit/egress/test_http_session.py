"""The hub's HTTP sessions for addresses that users name."""

from __future__ import annotations

import asyncio
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
import pytest

from hythe.egress import http_session
from hythe.egress.http_session import egress_denial, open_egress_session
from hythe.egress.policy import EgressDenied, EgressPolicy


@contextmanager
def serving(location: str = "") -> Iterator[tuple[int, list[str]]]:
    """A server on loopback that may redirect: its port, and the paths that were requested from it."""
    seen: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            self.send_response(302 if location else 200)
            self.send_header("Location", location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server.server_port, seen
        server.shutdown()


def get(setting: str, url: str) -> int:
    """Request a URL, following redirects; return the status. Raises EgressDenied."""

    async def request() -> int:
        async with open_egress_session(EgressPolicy.parse(setting)) as session, session.get(url) as response:
            return response.status

    try:
        return asyncio.run(request())
    except aiohttp.ClientError as error:
        denied = egress_denial(error)
        if denied is None:
            raise
        raise denied from error


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_opened_ports_are_reached(host: str) -> None:
    """By the name or the address that the setting contains, and by another name of the same address."""
    with serving() as (port, seen):
        assert get(f"{host}:{port}", f"http://127.0.0.1:{port}/a") == 200
        assert get(f"{host}:{port}", f"http://localhost:{port}/b") == 200
        with pytest.raises(EgressDenied):
            get(f"{host}:{port + 1}", f"http://127.0.0.1:{port}/c")

    assert seen == ["/a", "/b"]


def test_the_refusal_names_what_was_written() -> None:
    """The name that resolves to an internal address, or the address itself."""
    with serving() as (port, seen):
        with pytest.raises(
            EgressDenied, match=r"^localhost resolves to (127\.0\.0\.1|::1), which is not on the public"
        ):
            get("", f"http://localhost:{port}/")
        with pytest.raises(EgressDenied, match=r"^127\.0\.0\.1 is not on the public internet: an administrator"):
            get("", f"http://127.0.0.1:{port}/")

    assert seen == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0"])
def test_redirects_are_decided(host: str) -> None:
    """An opened server leads to no other port."""
    with (
        serving() as (secret_port, reached),
        serving(f"http://{host}:{secret_port}/") as (port, seen),
        pytest.raises(EgressDenied),
    ):
        get(f"127.0.0.1:{port}", f"http://127.0.0.1:{port}/")

    assert (len(seen), reached) == (1, [])


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would connect to any address for the user."""
    with serving() as (proxy, reached):
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy}")
        with pytest.raises(EgressDenied):
            get("", "http://10.0.0.5/")
        with pytest.raises(EgressDenied):
            get("", "http://localhost:1/")

    assert reached == []


def test_the_socket_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that slips past the resolver, as literals do, is refused when its socket is opened."""
    with serving() as (port, reached):

        def allow(*_arguments: Any) -> None:
            """Allow everything."""

        monkeypatch.setattr(http_session._Gate, "require_allowed", allow)
        with pytest.raises(EgressDenied, match="is not on the public internet"):
            get("", f"http://127.0.0.1:{port}/")
        with pytest.raises((EgressDenied, aiohttp.ClientConnectorError), match="is not on the public internet"):
            get("", f"http://localhost:{port}/")

    assert reached == []
