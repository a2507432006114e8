"""The JSON API of a hythe hub, with the user's stored credentials."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from hythe.client.client import Client
from hythe.client.connection import BytesBody
from hythe.client.credentials import Credential
from hythe.client.error_body import error_reason
from hythe.client.errors import AccessDenied, ClientError, RegistryError, RemoteConflict, RemoteNotFound
from hythe.client.http1 import HTTPResponse
from hythe.oci.reference import DEFAULT_NAMESPACE

MAX_PAGE = 100
"""Items of a page."""


class JSONAPI:
    """The JSON API of the hub at a host, as the user whose credentials are stored, or as no user."""

    def __init__(self, client: Client, host: str, name: str = "", credential: Credential | None = None) -> None:
        """``name``: the namespace or repository that requests are about, for which credentials can be stored alone.

        ``credential`` takes precedence over the stored ones.
        """
        self.host = host
        self._session = client.session(host, name, credential)

    @property
    def url(self) -> str:
        """The hub's address."""
        return self._session.base.rstrip("/")

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> HTTPResponse:
        """Send a request once and return the response with any status. Raises Unreachable.

        ``headers``, in letters of any case, replace those that are sent otherwise, credentials included.
        """
        given, usual = dict(headers or {}), self._headers()
        content = None if method in ("GET", "HEAD") else BytesBody(body or b"")
        if content is not None:
            usual["Content-Type"] = "application/json"
        replaced = {name.lower() for name in given}
        sent = {name: value for name, value in usual.items() if name.lower() not in replaced} | given
        with self._session.send(method, path, (), sent, content, authenticate=False) as response:
            return response.read()

    def get(self, path: str) -> bytes:
        """Return what is at a path; repeats the request if the hub is busy or unreachable. Raises ClientError."""
        response = self._session.request("GET", path, (), self._headers(), authenticate=False)
        return _require_success(response, self.host)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send a value and return the decoded response; None if it has none. Raises ClientError."""
        if method == "GET":
            content = self.get(path)
        else:
            sent = None if body is None else msgspec.json.encode(body)
            content = _require_success(self.send(method, path, sent), self.host)
        if not content:
            return None
        try:
            return msgspec.json.decode(content)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            hint = "check its address; a proxy in between may have responded instead"
            raise RegistryError(f"{self.host} did not return JSON", hint) from error

    def items(self, path: str, at_most: int = 0, **query: str) -> Iterator[dict[str, Any]]:
        """Yield the items of a list, page by page, ``at_most`` of them (0: all). Raises ClientError."""
        size = str(min(at_most or MAX_PAGE, MAX_PAGE))
        # Lists of builds have a ``limit`` and the number ``before`` instead of a cursor.
        parameters = {"page_size": size, "limit": size, **query}
        seen = 0
        while True:
            page = self.call("GET", f"{path}?{urlencode(parameters)}")
            if not isinstance(page, dict) or "items" not in page:
                raise ClientError(f"{path} is not a list")
            for item in page["items"]:
                yield item
                seen += 1
                if seen == at_most:
                    return
            following = page.get("next")
            if not following:
                return
            parameters["cursor" if isinstance(following, str) else "before"] = following

    def _headers(self) -> dict[str, str]:
        """Return the headers of every request. The hub's API needs no challenge, and redirects keep them."""
        credential = self._session.credential()
        token = credential.identity_token or credential.registry_token
        if token:
            return {"Accept": "application/json", "Authorization": f"Bearer {token}"}
        if credential:
            return {"Accept": "application/json", "Authorization": f"Basic {credential.encoded}"}
        return {"Accept": "application/json"}


def repository_path(repository: str) -> str:
    """Return the path of a repository in the API; a name without a namespace is in ``library``."""
    namespace, _, name = (repository if "/" in repository else f"{DEFAULT_NAMESPACE}/{repository}").partition("/")
    # An encoded slash is always part of the name: ann/app%2Ftags is no list of tags.
    return f"/api/v1/repositories/{quote(namespace, safe='')}/{quote(name, safe='')}"


def _require_success(response: HTTPResponse, host: str) -> bytes:
    """Return the body. Raises ClientError for an error, and for a redirect, which no change follows."""
    if response.status >= 300:
        raise api_error(response, host)
    return response.body


class _FieldProblem(msgspec.Struct, frozen=True):
    field: str
    detail: str


class _Problem(msgspec.Struct, frozen=True):
    title: str = ""
    hint: str = ""
    errors: tuple[_FieldProblem, ...] = ()


def _problem(response: HTTPResponse) -> _Problem:
    """Return the problem details of a response; empty if it has none, as those of proxies and other servers."""
    if not response.headers.get("content-type", "").startswith("application/problem+json"):
        return _Problem()
    try:
        return msgspec.json.decode(response.body, type=_Problem)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _Problem()


def api_error(response: HTTPResponse, host: str) -> ClientError:
    """Return the error of a response, with the hub's hint, and the problem of each field."""
    message = error_reason(response.body) or f"{host} returned status {response.status}"
    problem = _problem(response)
    for field in problem.errors:
        if field.detail not in message:
            message += f"; {field.field}: {field.detail}"
    hint = problem.hint
    match response.status:
        case 401:
            return AccessDenied(message, f"log in: hythe login {host}")
        case 403:
            return AccessDenied(message, hint)
        case 404 if not problem.title:
            message = f"{host} is not a hythe hub, or has no such address"
            return RegistryError(message, "name your hub: HOST/NAME, or --host HOST")
        case 404 | 308:
            return RemoteNotFound(message, hint or "check the name, or log in to see what is private")
        case 409 | 412:
            return RemoteConflict(message, hint)
        case status if status < 400 or status == 429 or status >= 500:
            return RegistryError(message, hint, status=status, retry_after=response.retry_after)
    return ClientError(message, hint)
