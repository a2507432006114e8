"""A hub's API: search and sign-up.

Search uses the index protocol of 2013 (``GET /v1/search``) of hythe hubs, Docker Hub and others, else Docker Hub's
newer ``/v2/search/repositories/``. Sign-up uses ``POST /api/v1/users`` of hythe hubs, else ``POST /v1/users/``.
"""

import re
from enum import Enum
from urllib.parse import quote, urlencode

import msgspec

from hythe.client.client import Client
from hythe.client.connection import BytesBody
from hythe.client.errors import AccessDenied, ClientError, RegistryError, RemoteConflict
from hythe.client.http1 import HTTPResponse
from hythe.client.session import RegistrySession, error_from
from hythe.oci.reference import DEFAULT_HOST
from hythe.oci.scope import Scope

DOCKER_INDEX = "index.docker.io"
DOCKER_HUB = "hub.docker.com"
DEFAULT_LIMIT = 25
MAX_LIMIT = 100
_SEARCH_SCOPE = (Scope("registry", "catalog", frozenset({"search"})),)
_USER_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_JSON = {"Content-Type": "application/json", "Accept": "application/json"}


class SearchResult(msgspec.Struct, frozen=True):
    """A repository in a search result."""

    name: str
    description: str = ""
    stars: int = 0
    official: bool = False
    automated: bool = False


class UsernameStatus(Enum):
    """Whether a user name is available at a hub."""

    FREE = "free"
    TAKEN = "taken"
    UNKNOWN = "unknown"


class _IndexResult(msgspec.Struct, frozen=True):
    name: str
    description: str | None = None
    star_count: int = 0
    is_official: bool = False
    is_automated: bool = False
    is_trusted: bool = False


class _IndexReply(msgspec.Struct, frozen=True):
    results: tuple[_IndexResult, ...] = ()


class _HubResult(msgspec.Struct, frozen=True):
    repo_name: str
    short_description: str | None = None
    star_count: int = 0
    is_official: bool = False
    is_automated: bool = False


class _HubReply(msgspec.Struct, frozen=True):
    results: tuple[_HubResult, ...] = ()


class _Problem(msgspec.Struct, frozen=True):
    title: str = ""
    detail: str = ""
    errors: tuple[dict[str, object], ...] | dict[str, object] = ()


class HubClient:
    """The API of the hub at a host, as one user."""

    def __init__(self, client: Client, host: str) -> None:
        self.host = host
        self._session = client.session(DOCKER_INDEX if host == DEFAULT_HOST else host)
        self._fallback = client.session(DOCKER_HUB) if host == DEFAULT_HOST else self._session

    def search(self, term: str, limit: int = DEFAULT_LIMIT) -> list[SearchResult]:
        """Return up to ``limit`` (1 to 100) matches, best first. Raises RegistryError, Unreachable."""
        response = self._session.request("GET", f"/v1/search?{urlencode({'q': term, 'n': limit})}", _SEARCH_SCOPE)
        if response.status == 200:
            return parse_index_reply(response.body)
        if response.status not in (404, 410, 501):
            raise error_from(response, self._session, "search")
        query = urlencode({"query": term, "page_size": limit})
        response = self._fallback.request("GET", f"/v2/search/repositories/?{query}")
        if response.status != 200:
            raise RegistryError(
                f"{self.host} does not support search", "search a hub: hythe search HOST/TERM", status=response.status
            )
        return parse_hub_reply(response.body)

    def username_status(self, username: str) -> UsernameStatus:
        """Return whether a user name is available; UNKNOWN unless this is a hythe hub. Sends only the name.

        Also UNKNOWN if sign-up is closed (the hub then has no page for it) or the name is invalid.
        """
        if not _USER_NAME.fullmatch(username):
            return UsernameStatus.UNKNOWN
        try:
            response = self._session.request("GET", f"/api/v1/users/{quote(username, safe='')}", headers=_JSON)
            if response.status == 200:
                return UsernameStatus.TAKEN
            if response.status != 404 or not _is_problem(response):
                return UsernameStatus.UNKNOWN
            page = self._session.request("GET", "/sign-up")
        except AccessDenied:
            return UsernameStatus.UNKNOWN
        return UsernameStatus.FREE if page.status == 200 else UsernameStatus.UNKNOWN

    def sign_up(self, username: str, password: str, email: str) -> None:
        """Create an account; raises RemoteConflict for a taken name or e-mail, AccessDenied where sign-up is closed."""
        fields = {"username": username, "password": password, "email": email}
        response = self._post("/api/v1/users", fields)
        if response.status in (404, 405):
            response = self._post("/v1/users/", fields)
        if response.status in (200, 201):
            return
        raise _sign_up_error(response, self._session)

    def _post(self, path: str, fields: dict[str, str]) -> HTTPResponse:
        body = BytesBody(msgspec.json.encode(fields))
        return self._session.request("POST", path, (), _JSON, body)


def _is_problem(response: HTTPResponse) -> bool:
    return response.headers.get("content-type", "").startswith("application/problem+json")


def _sign_up_error(response: HTTPResponse, session: RegistrySession) -> ClientError:
    reason = _description(response)
    if response.status == 409 or "already exists" in reason:
        return RemoteConflict(
            reason or "the user name or e-mail is taken", "choose another, or log in with 'hythe login'"
        )
    if response.status in (401, 403):
        return AccessDenied(reason or f"sign-up is disabled at {session.host}", "ask an administrator for an account")
    if response.status in (400, 422):
        return ClientError(f"sign-up failed: {reason or 'invalid request'}", "correct it and try again")
    return error_from(response, session, "sign-up")


def _description(response: HTTPResponse) -> str:
    """Return the message of a response: problem details, a JSON string, or plain text."""
    try:
        decoded = msgspec.json.decode(response.body)
    except msgspec.MsgspecError:
        text = response.body.decode(errors="replace").strip()
        return "" if "<" in text else text[:300]
    if isinstance(decoded, str):
        return decoded
    try:
        problem = msgspec.convert(decoded, _Problem)
    except msgspec.ValidationError:
        return ""
    return "; ".join(filter(None, [problem.detail or problem.title, *_field_errors(problem)]))


def _field_errors(problem: _Problem) -> list[str]:
    if isinstance(problem.errors, dict):
        return [f"{field}: {reason}" for field, reason in problem.errors.items()]
    texts = [": ".join(str(entry[key]) for key in ("field", "detail") if key in entry) for entry in problem.errors]
    return [text for text in texts if text not in problem.detail]


def parse_index_reply(content: bytes) -> list[SearchResult]:
    """Parse a response of ``/v1/search``; raises RegistryError."""
    try:
        reply = msgspec.json.decode(content, type=_IndexReply)
    except msgspec.MsgspecError as error:
        raise RegistryError("invalid response to /v1/search") from error
    return [
        SearchResult(r.name, r.description or "", r.star_count, r.is_official, r.is_automated or r.is_trusted)
        for r in reply.results
    ]


def parse_hub_reply(content: bytes) -> list[SearchResult]:
    """Parse a response of Docker Hub's ``/v2/search/repositories/``; raises RegistryError."""
    try:
        reply = msgspec.json.decode(content, type=_HubReply)
    except msgspec.MsgspecError as error:
        raise RegistryError("invalid response to /v2/search/repositories/") from error
    return [
        SearchResult(
            r.repo_name.removeprefix("library/"), r.short_description or "", r.star_count, r.is_official, r.is_automated
        )
        for r in reply.results
    ]
