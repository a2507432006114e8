"""Requests to identity providers, with timeouts and bounds on the size of responses."""

import logging
from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import urlencode

import aiohttp
import msgspec
from yarl import URL

from hythe.egress.http_session import egress_denial
from hythe.forges.api import TIMEOUT, ApiResponse, fetch
from hythe.forges.errors import ForgeError
from hythe.identity_providers.errors import ProviderUnavailable

MAX_SIZE = 1 << 20
"""Maximum bytes of a response."""

T = TypeVar("T")

log = logging.getLogger(__name__)


class ProviderHTTP:
    """The HTTP client of one provider. Redirects are not followed."""

    def __init__(
        self, session: aiohttp.ClientSession, title: str, max_size: int = MAX_SIZE, timeout: float = TIMEOUT
    ) -> None:
        """``title`` names the provider in errors; ``timeout`` is in seconds."""
        self._session = session
        self._title = title
        self._max_size = max_size
        self._timeout = timeout

    async def get(self, url: str, wanted: type[T], token: str = "") -> T:
        """GET a JSON value, with a Bearer token if there is one. Raises ProviderUnavailable."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        response = await self._send("GET", url, headers, None)
        if response.status != 200:
            raise ProviderUnavailable(f"{self._title} responded with status {response.status} to {_shown(url)}")
        return self.parse(response, wanted)

    async def post_form(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> ApiResponse:
        """POST a form and return the response, whatever its status. Raises ProviderUnavailable."""
        content_type = {"Content-Type": "application/x-www-form-urlencoded"}
        return await self._send("POST", url, {**headers, **content_type}, urlencode(form).encode())

    def parse(self, response: ApiResponse, wanted: type[T]) -> T:
        """Return the JSON body as ``wanted``. Raises ProviderUnavailable."""
        try:
            return response.parse(wanted)
        except (ForgeError, msgspec.MsgspecError, RecursionError) as error:
            raise ProviderUnavailable(f"{self._title} sent an invalid response") from error

    async def _send(self, method: str, url: str, headers: Mapping[str, str], content: bytes | None) -> ApiResponse:
        sent = {"Accept": "application/json", "User-Agent": "hythe", **headers}
        try:
            return await fetch(
                self._session, method, URL(url), self._title, sent, content, self._max_size, self._timeout
            )
        except ValueError as error:
            raise ProviderUnavailable(f"{_shown(url)} is no valid URL") from error
        except ForgeError as error:
            raise ProviderUnavailable(self._problem(error)) from error

    def _problem(self, error: ForgeError) -> str:
        """Say why there is no response, without addresses and what else the network tells: anyone can name a host."""
        cause = error.__cause__
        if cause is None or isinstance(cause, TimeoutError):
            return error.message
        if denial := egress_denial(cause):
            return f"cannot connect to {self._title}: {denial}"
        log.warning("%s", error.message)
        return f"cannot connect to {self._title}"


def _shown(url: str) -> str:
    return url.partition("?")[0][:200]
