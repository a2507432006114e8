"""A hub's API: search and sign-up.

Search uses the index protocol of 2013 (``GET /v1/search``) of hythe hubs, Docker Hub and others, else Docker Hub's
newer ``/v2/search/repositories/``. Sign-up uses ``POST /api/v1/users`` of hythe hubs, else ``POST /v1/users/``.
"""

import re
from collections.abc import Sequence
from enum import Enum
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from hythe.client.client import Client
from hythe.client.connection import BytesBody
from hythe.client.error_body import error_reason
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
    """Return the message of a response with the errors of its fields, if it has any (problem details)."""
    reason = error_reason(response.body)
    try:
        document = msgspec.json.decode(response.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return reason
    errors = document.get("errors") if isinstance(document, dict) else None
    return "; ".join(filter(None, [reason, *(text for text in _field_errors(errors) if text not in reason)]))


def _field_errors(errors: Any) -> list[str]:
    if isinstance(errors, dict):
        return [f"{field}: {reason}" for field, reason in errors.items()]
    entries = [entry for entry in errors if isinstance(entry, dict)] if isinstance(errors, list) else []
    texts = [": ".join(str(entry[key]) for key in ("field", "detail") if key in entry) for entry in entries]
    return list(filter(None, texts))


def parse_index_reply(content: bytes) -> list[SearchResult]:
    """Parse a response of ``/v1/search``; raises RegistryError."""
    return [
        _search_result(row, "name", "description", ("is_automated", "is_trusted"))
        for row in _results(content, "/v1/search")
        if isinstance(row.get("name"), str)
    ]


def parse_hub_reply(content: bytes) -> list[SearchResult]:
    """Parse a response of Docker Hub's ``/v2/search/repositories/``; raises RegistryError."""
    return [
        _search_result(row, "repo_name", "short_description", ("is_automated",))
        for row in _results(content, "/v2/search/repositories/")
        if isinstance(row.get("repo_name"), str)
    ]


def _results(content: bytes, what: str) -> list[dict[str, Any]]:
    """Return the objects in ``results``; none if it is missing or null."""
    try:
        document = msgspec.json.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RegistryError(f"invalid response to {what}: not JSON") from error
    rows = document.get("results") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(rows, list | None):
        raise RegistryError(f"invalid response to {what}: no list of results")
    return [row for row in rows or () if isinstance(row, dict)]


def _search_result(row: dict[str, Any], name: str, description: str, automated: Sequence[str]) -> SearchResult:
    stars = row.get("star_count")
    return SearchResult(
        row[name].removeprefix("library/") if name == "repo_name" else row[name],
        str(row.get(description) or ""),
        int(stars) if isinstance(stars, int | float) else 0,
        bool(row.get("is_official")),
        any(row.get(field) for field in automated),
    )
