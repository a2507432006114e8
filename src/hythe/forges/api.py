"""JSON requests to a forge: tokens, timeouts, size limits and errors, the same for all forges."""

from collections.abc import Mapping
from typing import Any, TypeVar

import aiohttp
import msgspec
from yarl import URL

from hythe.egress.http_session import egress_denial
from hythe.forges.errors import ForgeError, ForgeUnavailable, PermissionDenied, TokenRefused
from hythe.forges.json_sanitizing import without_nul

T = TypeVar("T")

TIMEOUT = 20
"""Seconds for one request."""
MAX_RESPONSE_SIZE = 8 << 20
MAX_REASON_LENGTH = 300
USER_AGENT = "hythe"
RETRY_LATER = "try again later"


class ApiResponse(msgspec.Struct, frozen=True):
    """A forge's response; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def parse(self, wanted: type[T]) -> T:
        """Return the JSON body as ``wanted``. Raises ForgeError."""
        try:
            return msgspec.json.decode(without_nul(self.body), type=wanted)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ForgeError(f"unexpected response from the forge: {error}") from error

    @property
    def has_next_page(self) -> bool:
        """Whether the Link header (RFC 8288) names a next page."""
        return 'rel="next"' in self.headers.get("link", "")


class ForgeAPI:
    """The API of one forge, called with one token."""

    def __init__(self, session: aiohttp.ClientSession, root: str, title: str, headers: Mapping[str, str]) -> None:
        """``root`` is the API's URL, ``title`` names the forge in errors."""
        self._session = session
        self._root = root
        self._title = title
        self._headers = headers

    async def get(self, path: str, wanted: type[T], **query: str | int) -> T:
        """GET a JSON value. Raises ForgeUnavailable, TokenRefused, PermissionDenied, ForgeError."""
        return (await self.send("GET", path, query=query)).parse(wanted)

    async def list_all(self, path: str, item: type[T], limit: int, page_size: Mapping[str, int]) -> list[T]:
        """Return up to ``limit`` items of a paginated list; ``page_size`` is the query parameter for the page size."""
        items: list[T] = []
        page = 1
        while True:
            response = await self.send("GET", path, query={**page_size, "page": page})
            found = response.parse(list[item])  # type: ignore[valid-type]
            items += found
            # An empty page ends the list, so that a faulty forge cannot keep the hub requesting pages.
            if len(items) >= limit or not found or not response.has_next_page:
                return items[:limit]
            page += 1

    async def post(self, path: str, body: Mapping[str, Any], wanted: type[T]) -> T:
        """POST a JSON object and return the response's value. Raises like ``get``."""
        return (await self.send("POST", path, body=body)).parse(wanted)

    async def delete(self, path: str) -> None:
        """DELETE a resource; a missing one is no error. Raises like ``get``."""
        response = await self._request("DELETE", path)
        if response.status not in (404, 410):
            self._require_success(response)

    async def send(
        self, method: str, path: str, *, query: Mapping[str, str | int] | None = None, body: Any = None
    ) -> ApiResponse:
        """Send a request and return a successful response. Raises like ``get``."""
        response = await self._request(method, path, query=query, body=body)
        self._require_success(response)
        return response

    async def _request(
        self, method: str, path: str, *, query: Mapping[str, str | int] | None = None, body: Any = None
    ) -> ApiResponse:
        url = URL(f"{self._root}{path}", encoded=True).update_query(query or {})
        headers = {"User-Agent": USER_AGENT, "Accept": "application/json", **self._headers}
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = msgspec.json.encode(body)
        return await fetch(self._session, method, url, self._title, headers, content)

    def _require_success(self, response: ApiResponse) -> None:
        status = response.status
        if 200 <= status < 300:
            return
        reason = _error_reason(response.body)
        if status == 401:
            raise TokenRefused(f"{self._title} does not accept this token: {reason}", "relink the account")
        if status == 429 or status >= 500 or response.headers.get("x-ratelimit-remaining") == "0":
            raise ForgeUnavailable(f"{self._title} is unavailable ({status}): {reason}", RETRY_LATER)
        if status in (403, 404):
            raise PermissionDenied(
                f"{self._title} denied access ({status}): {reason}",
                "link the account with more permissions, or ask the repository's owner",
            )
        raise ForgeError(f"{self._title} rejected the request ({status}): {reason}")


async def fetch(
    session: aiohttp.ClientSession,
    method: str,
    url: URL,
    title: str,
    headers: Mapping[str, str],
    content: bytes | None,
    max_size: int = MAX_RESPONSE_SIZE,
    max_seconds: float = TIMEOUT,
) -> ApiResponse:
    """Send one request without following redirects. Raises ForgeUnavailable, ForgeError."""
    timeout = aiohttp.ClientTimeout(total=max_seconds)
    try:
        async with session.request(
            method, url, data=content, headers=headers, timeout=timeout, allow_redirects=False
        ) as response:
            body = await _read(response, title, max_size)
            return ApiResponse(response.status, {name.lower(): value for name, value in response.headers.items()}, body)
    except TimeoutError as error:
        raise ForgeUnavailable(f"{title} sent no response within {max_seconds:g} seconds", RETRY_LATER) from error
    except (aiohttp.ClientError, OSError, UnicodeError) as error:
        reason = str(egress_denial(error) or error) or type(error).__name__
        raise ForgeUnavailable(f"cannot connect to {title}: {reason}", RETRY_LATER) from error


async def _read(response: aiohttp.ClientResponse, title: str, max_size: int) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(1 << 16):
        body += chunk
        if len(body) > max_size:
            raise ForgeError(f"the response of {title} is larger than {max_size} bytes")
    return bytes(body)


class _ErrorBody(msgspec.Struct, frozen=True):
    message: Any = ""
    error: Any = ""
    error_description: str = ""


def _error_reason(body: bytes) -> str:
    """Return the message of an error response, shortened."""
    try:
        parsed = msgspec.json.decode(without_nul(body), type=_ErrorBody)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return "no reason given"
    nested = parsed.error.get("message", "") if isinstance(parsed.error, dict) else parsed.error
    return str(parsed.message or parsed.error_description or nested or "no reason given")[:MAX_REASON_LENGTH]
