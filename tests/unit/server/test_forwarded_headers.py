"""Headers of reverse proxies: those of trusted ones count; for ignored ones the log names the setting that helps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send
from tests.parts.hub import HytheServer
from tests.security.registry_client import RegistryClient

from hythe.server.forwarded_headers import MAX_REPORTED, ForwardedHeaders
from hythe.settings import Settings

HTTPS = {"x-forwarded-proto": "https", "x-forwarded-for": "198.51.100.7"}
ADVICE = ", and set public_url to the address that clients use"


def seen(application: ForwardedHeaders, peer: str, headers: dict[str, str]) -> tuple[str, str]:
    """Return the scheme and the client's address that the application behind sees."""
    scope: dict[str, Any] = {"type": "http", "scheme": "http", "client": (peer, 1234)}
    scope["headers"] = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def nothing(*_: Any) -> Any:
        raise AssertionError

    asyncio.run(application(scope, nothing, nothing))
    return scope["scheme"], scope["client"][0]


async def end(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """An application that does nothing."""


def proxied(trusted: str = "", public_url: str = "") -> ForwardedHeaders:
    """Return an application that trusts these proxies."""
    return ForwardedHeaders(end, Settings(trusted_proxies=trusted).proxies, public_url=public_url)


@pytest.mark.parametrize("peer", ["10.0.0.1", "::ffff:10.0.0.1"])
def test_a_trusted_proxy_is_believed(peer: str, caplog: pytest.LogCaptureFixture) -> None:
    """The address and the scheme are the client's, and nothing is logged."""
    assert seen(proxied("10.0.0.0/8"), peer, HTTPS) == ("https", "198.51.100.7")
    assert caplog.records == []


@pytest.mark.parametrize(
    ("headers", "public_url", "words"),
    [
        (
            HTTPS,
            "",
            "ignored X-Forwarded-For and X-Forwarded-Proto of 192.0.2.1, which is no trusted proxy: all its clients "
            "count as one address, and links and token realms begin with http://; if it is your reverse proxy, set "
            f"trusted_proxies to 192.0.2.1{ADVICE}",
        ),
        (
            HTTPS,
            "https://hub.example.com",
            "ignored X-Forwarded-For and X-Forwarded-Proto of 192.0.2.1, which is no trusted proxy: all its clients "
            "count as one address; if it is your reverse proxy, set trusted_proxies to 192.0.2.1",
        ),
        ({"forwarded": "for=198.51.100.7;proto=https"}, "", "ignored Forwarded of 192.0.2.1"),
        ({"x-forwarded-host": "hub.example.com"}, "", "ignored X-Forwarded-Host of 192.0.2.1"),
    ],
)
def test_ignored_headers_are_reported_once(
    headers: dict[str, str], public_url: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Once for each peer; the request is handled as if the headers were not there."""
    application = proxied("10.0.0.1", public_url)

    for _ in range(3):
        assert seen(application, "192.0.2.1", headers) == ("http", "192.0.2.1")

    (record,) = caplog.records
    assert record.message.startswith(words)
    assert record.message == words or len(words) < 60


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"x-forwarded-for": "198.51.100.7"}, "does not send X-Forwarded-Proto: let it set that header"),
        ({"x-forwarded-proto": "https"}, "does not send X-Forwarded-For: let it set that header"),
        ({"forwarded": "for=x;proto=https"}, "does not send X-Forwarded-Proto and X-Forwarded-For"),
        ({**HTTPS, "host": "backend:5000", "x-forwarded-host": "hub.example.com"}, "changes Host, so links lead to"),
    ],
)
def test_what_a_trusted_proxy_leaves_out_is_reported(
    headers: dict[str, str], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its setup is incomplete, or it uses headers that are not supported."""
    application = proxied("10.0.0.1")
    for _ in range(3):
        seen(application, "10.0.0.1", headers)

    (record,) = caplog.records
    assert words in record.message
    assert record.message.endswith(ADVICE)


def test_ordinary_requests_report_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Neither a client without a proxy, nor a proxy that passes Host."""
    seen(proxied(), "192.0.2.1", {"host": "hub.example.com", "user-agent": "docker"})
    seen(proxied("10.0.0.1"), "10.0.0.1", {**HTTPS, "host": "hub.example.com", "x-forwarded-host": "hub.example.com"})

    assert caplog.records == []


def test_strangers_cannot_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Anyone can send the headers, from many addresses."""
    application = proxied()
    for number in range(5 * MAX_REPORTED):
        seen(application, f"192.0.2.{number}", HTTPS)

    assert len(caplog.records) == MAX_REPORTED


def test_behind_a_proxy_the_realm_follows_the_settings(start_hub: Callable[..., HytheServer]) -> None:
    """A proxy with TLS in front: the log says what is missing, and with it the realm is right."""
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "198.51.100.7", "Host": "hub.example.com"}

    def realm(*flags: str) -> tuple[str, HytheServer]:
        hub = start_hub(["--builds-workers", "0", *flags])
        answer = RegistryClient(hub.url).send("GET", "/v2/", headers=headers)
        return answer.headers["www-authenticate"], hub

    before, hub = realm()
    after, quiet = realm("--trusted-proxies", "127.0.0.1")

    assert 'realm="http://hub.example.com/' in before
    assert hub.log.count("set trusted_proxies to 127.0.0.1, and set public_url") == 1
    assert 'realm="https://hub.example.com/' in after
    assert "proxy" not in quiet.log
