"""Examines the way of clients to the hub: a probe through the public URL, which shows what reverse proxies change."""

import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from urllib.parse import urlsplit

import aiohttp
import msgspec

from hythe.server.connection_report import CONNECTION_PATH, ConnectionReport
from hythe.server.doctor.database import MAX_SKEW
from hythe.server.doctor.diagnosis import Diagnosis, good, problem, warning
from hythe.server.health import READY_PATH
from hythe.settings import Settings

SUBJECT = "public address"

FORGED_ADDRESS = "192.0.2.123"
"""An address for documentation, which no client has: a proxy must not pass it on."""

LARGE_BODY = 4 << 20
"""Bytes of a body that many proxies refuse by default."""

TIMEOUT = aiohttp.ClientTimeout(total=20, connect=5)

_PROXY_HINT = "docs/nginx.conf is a configuration that works; name the proxy in trusted_proxies"


async def examine_public_address(settings: Settings) -> AsyncIterator[Diagnosis]:
    """Yield what clients meet at the public URL, or at the address on which the hub listens."""
    url = settings.public_url.rstrip("/") or _local_url(settings)
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context())
    async with aiohttp.ClientSession(
        connector=connector, timeout=TIMEOUT, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        try:
            report, date = await _probe(session, url)
        except _Unreachable as error:
            yield problem(SUBJECT, str(error), error.hint)
            return
        yield good(SUBJECT, f"{url} leads to a Hythe server")
        for finding in _compare(settings, url, report):
            yield finding
        skew = _skew(date)
        if skew > MAX_SKEW:
            yield problem("clock", f"the clocks of {url} and of this machine differ by {skew:.0f} s", "use NTP")
        async for finding in _readiness(session, url):
            yield finding
        async for finding in _large_body(session, url):
            yield finding


def _local_url(settings: Settings) -> str:
    host, port = settings.address
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 (compared, not listened on)
    return f"{'https' if settings.tls_cert else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


class _Unreachable(Exception):
    """The hub does not respond at an address."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


async def _probe(session: aiohttp.ClientSession, url: str) -> tuple[ConnectionReport, str]:
    headers = {"X-Forwarded-For": FORGED_ADDRESS}
    try:
        async with session.get(url + CONNECTION_PATH, headers=headers, allow_redirects=False) as response:
            content, date = await response.content.read(10_000), response.headers.get("Date", "")
            return msgspec.json.decode(content, type=ConnectionReport), date
    except (aiohttp.ClientConnectorCertificateError, ssl.SSLError) as error:
        raise _Unreachable(f"the certificate of {url} is not trusted: {error}", "get one of a known CA") from error
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        raise _unreachable(url, error) from error


def _unreachable(url: str, error: Exception) -> _Unreachable:
    if isinstance(error, msgspec.MsgspecError):
        return _Unreachable(
            f"{url} is not this version of Hythe: it does not respond to {CONNECTION_PATH}",
            "correct public_url, or let the proxy pass all paths",
        )
    return _Unreachable(
        f"{url} does not respond: {error or type(error).__name__}",
        "start the hub; otherwise check DNS, firewall and proxy (some networks do not lead back to their own address)",
    )


def _compare(settings: Settings, url: str, report: ConnectionReport) -> list[Diagnosis]:
    found = []
    asked = urlsplit(url)
    if report.address == FORGED_ADDRESS:
        found.append(
            problem(
                SUBJECT,
                "clients can choose the address that the hub sees, and so escape limits: a trusted proxy passes on "
                "the X-Forwarded-For of its clients",
                "let the proxy set X-Forwarded-For to the address of its client instead of extending it",
            )
        )
    if report.scheme != asked.scheme:
        found.append(
            problem(
                SUBJECT,
                f"clients use {asked.scheme}, but the hub sees {report.scheme} from {report.address}",
                f"let the proxy set X-Forwarded-Proto; {_PROXY_HINT}",
            )
        )
    if report.host != asked.netloc:
        hint = f"let the proxy pass Host; {_PROXY_HINT}"
        found.append(problem(SUBJECT, f"clients ask for {asked.netloc}, but the hub sees {report.host}", hint))
    if settings.trusted_proxies and any(_contains(each, report.address) for each in settings.proxies):
        found.append(
            warning(
                SUBJECT,
                f"the hub sees the address {report.address}, which is that of a trusted proxy",
                "let the proxy set X-Forwarded-For; if this machine itself is the proxy, all is well",
            )
        )
    return found


def _contains(network: object, address: str) -> bool:
    try:
        return ip_address(address) in network  # type: ignore[operator]
    except (ValueError, TypeError):
        return False


def _skew(date: str) -> float:
    try:
        return abs((parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0


async def _readiness(session: aiohttp.ClientSession, url: str) -> AsyncIterator[Diagnosis]:
    try:
        async with session.get(url + READY_PATH) as response:
            state = await response.json(content_type=None)
            failed = {name: each for name, each in state["checks"].items() if not each["ready"]}
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError, TypeError, AttributeError) as error:
        yield warning(SUBJECT, f"{url}{READY_PATH} does not say whether the server is ready: {error}", _PROXY_HINT)
        return
    for check in failed.values():
        yield problem("server", str(check.get("problem", "not ready")), str(check.get("hint", "")))
    if not failed:
        yield good("server", "ready")


async def _large_body(session: aiohttp.ClientSession, url: str) -> AsyncIterator[Diagnosis]:
    """Send a body without credentials: the hub refuses it with 401, a proxy that limits sizes with 413."""
    try:
        async with session.post(f"{url}/v2/doctor/probe/blobs/uploads/", data=bytes(LARGE_BODY)) as response:
            status = response.status
    except (aiohttp.ClientError, OSError, TimeoutError):
        return  # refused while it was being sent, which a client of the registry handles
    if status == 413:
        yield problem(
            SUBJECT,
            "the proxy limits the size of request bodies, so large layers cannot be pushed",
            "nginx: client_max_body_size 0; and proxy_request_buffering off, so that layers are not stored twice",
        )
