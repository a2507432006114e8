"""The JSON API of a hythe hub, with the user's stored credentials."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from hythe.client.client import Client
from hythe.client.connection import BytesBody
from hythe.client.errors import AccessDenied, ClientError, RemoteConflict, RemoteNotFound
from hythe.client.http1 import HTTPResponse

MAX_PAGE = 100
"""Items of a page."""


class JSONAPI:
    """The JSON API of the hub at a host, as the user whose credentials are stored, or as no user."""

    def __init__(self, client: Client, host: str) -> None:
        self.host = host
        self._session = client.session(host)

    @property
    def url(self) -> str:
        """The hub's address."""
        return self._session.base.rstrip("/")

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> HTTPResponse:
        """Send a request and return the response with any status. Raises Unreachable, AccessDenied."""
        sent = {"Accept": "application/json", **self._authorization(), **(headers or {})}
        content = None if method in ("GET", "HEAD") else BytesBody(body or b"")
        if content is not None:
            sent.setdefault("Content-Type", "application/json")
        with self._session.send(method, path, (), sent, content) as response:
            return response.read()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send a value and return the decoded response; None if it has none. Raises ClientError."""
        response = self.send(method, path, None if body is None else msgspec.json.encode(body))
        if response.status >= 400:
            raise api_error(response, self.host)
        if not response.body:
            return None
        try:
            return msgspec.json.decode(response.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ClientError(
                f"{self.host} did not return JSON", "check its address; a proxy in between may have responded instead"
            ) from error

    def items(self, path: str, at_most: int = 0, **query: str) -> Iterator[dict[str, Any]]:
        """Yield the items of a list, page by page, ``at_most`` of them (0: all). Raises ClientError."""
        size = min(at_most or MAX_PAGE, MAX_PAGE)
        cursor, seen = "", 0
        while True:
            parameters = {**query, "page_size": str(size), **({"cursor": cursor} if cursor else {})}
            page = self.call("GET", f"{path}?{urlencode(parameters)}")
            for item in page["items"]:
                yield item
                seen += 1
                if seen == at_most:
                    return
            cursor = page.get("next", "")
            if not cursor:
                return

    def _authorization(self) -> dict[str, str]:
        credential = self._session.credential()
        if credential.identity_token:
            return {"Authorization": f"Bearer {credential.identity_token}"}
        return {"Authorization": f"Basic {credential.encoded}"} if credential.username and credential.password else {}


def repository_path(repository: str) -> str:
    """Return the path of a repository in the API; ``repository`` is NAMESPACE/NAME."""
    namespace, _, name = repository.partition("/")
    # An encoded slash is always part of the name: ann/app%2Ftags is no list of tags.
    return f"/api/v1/repositories/{quote(namespace, safe='')}/{quote(name, safe='')}"


def api_error(response: HTTPResponse, host: str) -> ClientError:
    """Return the error of a response, with the hub's hint, and the problem of each field."""
    try:
        problem = msgspec.json.decode(response.body, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        problem = {}
    message = str(problem.get("detail") or f"{host} returned {response.status}")
    fields = problem.get("errors")
    for field in fields if isinstance(fields, list) else []:
        if isinstance(field, dict) and str(field.get("detail")) not in message:
            message += f"; {field.get('field')}: {field.get('detail')}"
    hint = str(problem.get("hint") or "")
    match response.status:
        case 401:
            return AccessDenied(message, f"log in: hythe login {host}")
        case 403:
            return AccessDenied(message, hint)
        case 404:
            return RemoteNotFound(message, hint or "check the name, or log in to see what is private")
        case 409:
            return RemoteConflict(message, hint)
    return ClientError(message, hint)
