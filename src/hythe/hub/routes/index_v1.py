"""The index API of 2013 and 2014 that docker clients use: ``/v1/users/``, ``/v1/search``, ``/v1/_ping``.

Current docker and podman still search with ``/v1/search``; docker 0.9 to 1.10 sign up and log in with ``/v1/users/``.
"""

from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from hythe.hub.accounts.users import NewUser
from hythe.hub.actor import ANONYMOUS
from hythe.hub.errors import Invalid, NotFound, Refused, SignInNeeded, Taken, TooManyAttempts
from hythe.hub.page import MAX_DEPTH, MAX_PAGE_SIZE, PAGE_SIZE, Page, Paging
from hythe.hub.repositories.repository import Repository
from hythe.hub.routes.parsing import parse_body, read_body
from hythe.hub.routes.problem_details import BadRequest
from hythe.hub.service import HubServices

EXISTS = "Username or email already exists"
"""Docker compares the body with exactly this text, quotes included, and then tries to log in."""


class FoundRepository(msgspec.Struct, frozen=True):
    """One result. Docker 1.0 reads ``is_automated`` or ``is_trusted``, 0.9 only the latter: send both."""

    name: str
    description: str
    star_count: int
    is_official: bool
    is_automated: bool
    is_trusted: bool


class FoundRepositories(msgspec.Struct, frozen=True):
    """The search results that ``docker search`` reads."""

    query: str
    num_results: int
    num_pages: int
    page: int
    page_size: int
    results: tuple[FoundRepository, ...]


async def ping(hub: HubServices, _request: Request) -> Response:
    """Confirm that this is an index, and that it can respond to more than this. Raises UnavailableError."""
    await hub.liveness.require()
    return _json(True, HTTPStatus.OK)


async def sign_up(hub: HubServices, request: Request) -> Response:
    """Sign up as docker 0.9 to 1.10 do; errors are 400 with a sentence that docker prints."""
    try:
        new = parse_body(await read_body(request), NewUser, lenient=True)
        await hub.users.create(ANONYMOUS, new, _address(request))
    except Refused as error:
        return _json(EXISTS if await _is_there(hub, new.username) else str(error), HTTPStatus.BAD_REQUEST)
    except Taken:
        return _json(EXISTS, HTTPStatus.BAD_REQUEST)
    except TooManyAttempts as error:
        return _json(str(error), error.status, {"Retry-After": str(error.retry_after)})
    except (Invalid, BadRequest) as error:
        return _json(str(error), HTTPStatus.BAD_REQUEST)
    return _json("User created", HTTPStatus.CREATED)


async def _is_there(hub: HubServices, name: str) -> bool:
    try:
        await hub.users.get(ANONYMOUS, name)
    except NotFound:
        return False
    return True


async def log_in(hub: HubServices, request: Request) -> Response:
    """Check a password (Basic). Raises SignInNeeded."""
    actor = await hub.credentials.by_header(request.headers.get("authorization"), _address(request))
    if not actor.signed_in:
        raise SignInNeeded("Wrong login/password, please try again")
    return _json("OK", HTTPStatus.OK)


async def search(hub: HubServices, request: Request) -> Response:
    """Respond to ``docker search`` and ``podman search``; without credentials, search public repositories."""
    typed = request.query_params.get("q", "")
    size = _number(request.query_params.get("n"), PAGE_SIZE, MAX_PAGE_SIZE)
    page = _number(request.query_params.get("page"), 1, MAX_DEPTH // size)
    actor = await hub.credentials.by_header(request.headers.get("authorization"), _address(request))
    found = await hub.search.find(actor, typed, Paging(page, size))
    return _json(_results(typed, found), HTTPStatus.OK)


def _results(typed: str, found: Page[Repository]) -> FoundRepositories:
    results = tuple(
        FoundRepository(each.short_name, each.description, each.stars, each.official, each.built, each.built)
        for each in found.items
    )
    pages = -(-found.total // found.paging.page_size)
    return FoundRepositories(typed, found.total, pages, found.paging.page, found.paging.page_size, results)


def _number(text: str | None, default: int, largest: int) -> int:
    """Clamp numbers: docker's clients send values out of range and expect no error."""
    if text is None or not text.isascii() or not text.isdecimal() or len(text) > 9:
        return default
    return min(max(int(text), 1), largest)


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _json(value: object, status: HTTPStatus, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), status, headers, media_type="application/json")
