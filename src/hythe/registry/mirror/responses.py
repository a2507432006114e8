"""Reads an upstream's responses, and turns what is none of a registry into errors."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from urllib.parse import urlsplit

import aiohttp

from hythe.control_characters import escape_line
from hythe.egress.http_session import egress_denial
from hythe.registry.mirror.errors import (
    UpstreamError,
    UpstreamInvalid,
    UpstreamMissing,
    UpstreamUnavailable,
    quote,
    quote_text,
)
from hythe.registry.mirror.pauses import Pauses
from hythe.registry.mirror.upstreams import Upstream

MAX_ERROR_SIZE = 4096
"""Bytes of an error response to read."""

MAX_ERROR_TIME = 5
"""Seconds to wait for the text of an error response."""

WEB_PAGES = ("text/html", "application/xhtml+xml")
"""Content types of captive portals, login pages and proxies, but of no registry."""


@contextmanager
def upstream_errors(upstream: Upstream) -> Iterator[None]:
    """Turn the exceptions of aiohttp into UpstreamError."""
    try:
        yield
    except TimeoutError as error:
        raise UpstreamUnavailable(f"{upstream.address} does not respond: timeout") from error
    except (aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch) as error:
        raise UpstreamInvalid(f"the TLS connection to {upstream.address} failed{quote_text(str(error))}") from error
    except aiohttp.TooManyRedirects as error:
        raise UpstreamInvalid(f"{upstream.address} redirects in a circle") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise _connection_error(error, upstream) from error


def _connection_error(error: Exception, upstream: Upstream) -> UpstreamError:
    denial = egress_denial(error)
    if denial is not None:
        return UpstreamInvalid(f"{upstream.address} leads to an address that is not allowed{quote_text(str(denial))}")
    if isinstance(error, aiohttp.ClientResponseError):  # its text also contains the address, perhaps a secret one
        return UpstreamInvalid(f"{upstream.address} sent no valid HTTP response{quote_text(error.message)}")
    if isinstance(error, (aiohttp.RedirectClientError, aiohttp.InvalidURL, ValueError)):
        return UpstreamInvalid(f"{upstream.address} redirects to an invalid address{quote_text(str(error))}")
    return UpstreamUnavailable(f"{upstream.address} does not respond{quote_text(str(error))}")


async def check_status(response: aiohttp.ClientResponse, upstream: Upstream, pauses: Pauses) -> None:
    """Raise UpstreamError for every status but 200 and 206, and start the pause that the upstream asks for."""
    status = response.status
    if status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        return
    said = quote(await read_body(response, truncate=True))
    host = _responder(response, upstream)
    if status == HTTPStatus.NOT_FOUND:
        raise UpstreamMissing(f"{host} does not have this{said}", certain=not is_web_page(response))
    retry_after = response.headers.get("Retry-After", "")
    if status == HTTPStatus.TOO_MANY_REQUESTS or (status == HTTPStatus.SERVICE_UNAVAILABLE and retry_after):
        problem = "got too many requests" if status == HTTPStatus.TOO_MANY_REQUESTS else "is unavailable"
        raise pauses.start(upstream.address, status, retry_after, f"{host} {problem}{said}")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise UpstreamUnavailable(f"{host} returned status {status}{said}")
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise UpstreamInvalid(f"{host} refused access (status {status}){said}")
    raise UpstreamInvalid(f"{host} returned status {status}{said}")


async def require_no_web_page(response: aiohttp.ClientResponse, upstream: Upstream) -> None:
    """Raise UpstreamInvalid for a page of a captive portal, a login or a proxy."""
    if is_web_page(response):
        said = quote(await read_body(response, truncate=True))
        raise UpstreamInvalid(f"{_responder(response, upstream)} sent a web page instead of registry content{said}")


def is_web_page(response: aiohttp.ClientResponse) -> bool:
    """Whether the response says that it is a page for people."""
    return response.headers.get("Content-Type", "").partition(";")[0].strip().lower() in WEB_PAGES


async def read_body(response: aiohttp.ClientResponse, limit: int = MAX_ERROR_SIZE, *, truncate: bool = False) -> bytes:
    """Return the body of at most ``limit`` bytes. Raises UpstreamInvalid for a larger one, and the errors of aiohttp.

    With ``truncate``, the body is only the text of an error: return what arrives of it, and raise nothing.
    """
    content = bytearray()
    try:
        async with asyncio.timeout(MAX_ERROR_TIME if truncate else None):
            async for piece in response.content.iter_any():
                content += piece
                if len(content) > limit:
                    break
    except (aiohttp.ClientError, OSError):
        if not truncate:
            raise
    if len(content) > limit and not truncate:
        raise UpstreamInvalid(f"{address_of(response)} sent more than {limit} bytes")
    return bytes(content[:limit])


def _responder(response: aiohttp.ClientResponse, upstream: Upstream) -> str:
    """Return the upstream's host, and that to which it redirected."""
    last = address_of(response)
    return upstream.address if last == upstream.address else f"{upstream.address} (redirected to {last})"


def address_of(response: aiohttp.ClientResponse) -> str:
    """Return the HOST or HOST:PORT that responded."""
    return escape_line(urlsplit(str(response.url)).netloc.rpartition("@")[2][:100])
