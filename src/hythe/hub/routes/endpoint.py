"""An endpoint of the JSON API as a value: it handles requests, and its OpenAPI description is generated from it."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hythe.hub.actor import HubActor
from hythe.hub.errors import Refused
from hythe.hub.page import PAGE_SIZE, Page, Paging
from hythe.hub.routes.parsing import parse_body, parse_fields, read_body
from hythe.hub.routes.problem_details import MethodNotAllowed, problem_response
from hythe.hub.routes.repository_addresses import shortest_names_first
from hythe.hub.service import HubServices
from hythe.registry.routes.cross_site import is_cross_site

B = TypeVar("B")
Q = TypeVar("Q")
T = TypeVar("T")


class Nothing(msgspec.Struct, frozen=True):
    """No fields."""


class PageQuery(msgspec.Struct, frozen=True):
    """The requested page of a list."""

    page: int = 1
    page_size: int = PAGE_SIZE

    def paging(self) -> Paging:
        """Return the validated paging. Raises Invalid."""
        return Paging(self.page, self.page_size)


class PageReply(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list of ``total`` items."""

    total: int
    page: int
    page_size: int
    items: tuple[T, ...]


@dataclass(frozen=True, slots=True)
class ApiRequest(Generic[B, Q]):
    """A parsed request: the actor, the parameters of path and query, the body, and the client's address.

    ``url`` is the URL that the client sees, without the query.
    """

    actor: HubActor
    path: Mapping[str, str]
    query: Q
    body: B
    address: str
    url: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path. ``handler`` returns a value of type ``reply``, or None for 204.

    ``lenient``: ignore unknown fields of the body, which another product defines.
    """

    method: str
    path: str
    summary: str
    handler: Callable[[HubServices, Any], Awaitable[Any]]
    body: type[Any] = Nothing
    query: type[Any] = Nothing
    reply: Any = None
    status: HTTPStatus = HTTPStatus.OK
    lenient: bool = False


def page_reply(page: Page[Any], items: Iterable[T]) -> PageReply[T]:
    """Return a page with its items in the form of the API."""
    return PageReply(page.total, page.paging.page, page.paging.page_size, tuple(items))


def routes_of(
    endpoints: Iterable[Endpoint], hub: HubServices, failure: Callable[[Exception], Response] = problem_response
) -> list[Route]:
    """Return a route for each path with all its methods; ``failure`` makes the responses for errors.

    The order is that of the table, but the shortest name of a repository in a path is matched first.
    """
    by_path: dict[str, dict[str, Endpoint]] = {}
    for endpoint in endpoints:
        by_path.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    routes = [(path, Route(path, _Answering(methods, hub, failure))) for path, methods in by_path.items()]
    return shortest_names_first(routes)


class _Answering:
    """The ASGI application of one path."""

    def __init__(
        self, methods: Mapping[str, Endpoint], hub: HubServices, failure: Callable[[Exception], Response]
    ) -> None:
        self._methods = methods
        self._hub = hub
        self._failure = failure

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        try:
            endpoint = self._methods.get("GET" if request.method == "HEAD" else request.method)
            if endpoint is None:
                raise MethodNotAllowed(", ".join(self._methods))
            return encoded(
                await endpoint.handler(self._hub, await _call(self._hub, endpoint, request)), endpoint.status
            )
        except Exception as error:
            return self._failure(error)


async def _call(hub: HubServices, endpoint: Endpoint, request: Request) -> ApiRequest[Any, Any]:
    _refuse_other_sites(hub, request)
    address = request.client.host if request.client else ""
    actor = await hub.credentials.by_header(request.headers.get("authorization"), address)
    query = parse_fields(dict(request.query_params), endpoint.query, strict=False)
    body = Nothing()
    if endpoint.body is not Nothing:
        body = parse_body(await read_body(request), endpoint.body, lenient=endpoint.lenient)
    url = f"{hub.settings.public_url.rstrip('/') or str(request.base_url).rstrip('/')}{request.url.path}"
    return ApiRequest(actor, request.path_params, query, body, address, url)


def _refuse_other_sites(hub: HubServices, request: Request) -> None:
    """Browsers resend cached Basic credentials with forms of other sites."""
    if request.method in ("GET", "HEAD"):
        return
    hosts = frozenset({request.headers.get("host", ""), urlsplit(hub.settings.public_url).netloc} - {""})
    if is_cross_site(request.headers.get("origin"), request.headers.get("sec-fetch-site"), hosts):
        raise Refused("this request came from another site", "use the hub's own pages")


def encoded(value: Any, status: HTTPStatus) -> Response:
    """Return a value as a JSON response."""
    if status is HTTPStatus.NO_CONTENT:
        return Response(status_code=status)
    return Response(msgspec.json.encode(value), status, media_type="application/json")
