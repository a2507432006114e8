"""JSON over HTTP as all forges speak it: one place for tokens, timeouts, sizes and errors."""

from collections.abc import Mapping
from typing import Any, TypeVar

import aiohttp
import msgspec
from yarl import URL

from hythe.forges.errors import ForgeAway, ForgeError, RightsLacking, TokenRefused
from hythe.forges.json_sanitizing import without_nul

T = TypeVar("T")

SECONDS = 20
LARGEST_ANSWER = 8 << 20
USER_AGENT = "hythe"


class Answer(msgspec.Struct, frozen=True):
    """What a forge answered; header names in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def parsed(self, wanted: type[T]) -> T:
        """Return the body as a value. Raises ForgeError."""
        try:
            return msgspec.json.decode(without_nul(self.body), type=wanted)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ForgeError(f"the forge answered something else than its documentation says: {error}") from error


class API:
    """A forge's API with one token."""

    def __init__(self, session: aiohttp.ClientSession, root: str, title: str, headers: Mapping[str, str]) -> None:
        self._session = session
        self._root = root
        self._title = title
        self._headers = headers

    async def get(self, path: str, wanted: type[T], **query: str | int) -> T:
        """Return what is at ``path``. Raises ForgeAway, TokenRefused, RightsLacking, ForgeError."""
        return (await self.send("GET", path, query=query)).parsed(wanted)

    async def pages(self, path: str, item: type[T], most: int, **size: int) -> list[T]:
        """Return the items of a list, page by page, about ``most`` of them; ``size`` is how many a page shall hold."""
        found: list[T] = []
        page = 1
        while True:
            answer = await self.send("GET", path, query={**size, "page": page})
            found += answer.parsed(list[item])  # type: ignore[valid-type]
            if len(found) >= most or not has_next(answer):
                return found[:most]
            page += 1

    async def post(self, path: str, body: Mapping[str, Any], wanted: type[T]) -> T:
        """Send a JSON object, return the answer. Raises like ``get``."""
        return (await self.send("POST", path, body=body)).parsed(wanted)

    async def delete(self, path: str) -> None:
        """Delete what is at ``path``, if it is there. Raises like ``get``."""
        answer = await self.ask("DELETE", path)
        if answer.status not in (404, 410):
            self._require_good(answer)

    async def send(
        self, method: str, path: str, *, query: Mapping[str, str | int] | None = None, body: Any = None
    ) -> Answer:
        """Ask, and return a good answer. Raises like ``get``."""
        answer = await self.ask(method, path, query=query, body=body)
        self._require_good(answer)
        return answer

    async def ask(
        self, method: str, path: str, *, query: Mapping[str, str | int] | None = None, body: Any = None
    ) -> Answer:
        """Ask, and return whatever was answered. Raises ForgeAway, ForgeError."""
        url = URL(f"{self._root}{path}", encoded=True).update_query(query or {})
        headers = {"User-Agent": USER_AGENT, "Accept": "application/json", **self._headers}
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = msgspec.json.encode(body)
        return await fetch(self._session, method, url, self._title, headers, content)

    def _require_good(self, answer: Answer) -> None:
        if 200 <= answer.status < 300:
            return
        said = _said(answer.body)
        if answer.status == 401:
            raise TokenRefused(f"{self._title} does not accept this token: {said}", "link the account anew")
        if answer.status == 429 or answer.status >= 500 or answer.headers.get("x-ratelimit-remaining") == "0":
            raise ForgeAway(f"{self._title} is busy ({answer.status}): {said}", "try again later")
        if answer.status in (403, 404):
            raise RightsLacking(
                f"{self._title} does not allow this with the link's rights ({answer.status}): {said}",
                "link with wider rights, or ask the repository's owner",
            )
        raise ForgeError(f"{self._title} refused ({answer.status}): {said}")


async def fetch(
    session: aiohttp.ClientSession, method: str, url: URL, title: str, headers: Mapping[str, str], content: bytes | None
) -> Answer:
    """Send one request, following no redirect. Raises ForgeAway, ForgeError."""
    timeout = aiohttp.ClientTimeout(total=SECONDS)
    try:
        async with session.request(
            method, url, data=content, headers=headers, timeout=timeout, allow_redirects=False
        ) as response:
            body = await _read(response, title)
            return Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, body)
    except (TimeoutError, aiohttp.ClientError, OSError, UnicodeError) as error:
        raise ForgeAway(f"{title} does not answer: {str(error) or type(error).__name__}", "try again later") from error


async def _read(response: aiohttp.ClientResponse, title: str) -> bytes:
    body = bytearray()
    async for piece in response.content.iter_chunked(1 << 16):
        body += piece
        if len(body) > LARGEST_ANSWER:
            raise ForgeError(f"{title} answered more than can be read")
    return bytes(body)


class _Said(msgspec.Struct, frozen=True):
    message: Any = ""
    error: Any = ""
    error_description: str = ""


def _said(body: bytes) -> str:
    """Return what an error says, shortened."""
    try:
        said = msgspec.json.decode(without_nul(body), type=_Said)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return "no reason given"
    nested = said.error.get("message", "") if isinstance(said.error, dict) else said.error
    return str(said.message or said.error_description or nested or "no reason given")[:300]


def has_next(answer: Answer) -> bool:
    """Whether the Link header (RFC 8288) names a next page."""
    return 'rel="next"' in answer.headers.get("link", "")
