"""An endpoint of the JSON API as a value: it handles requests, and its OpenAPI description is generated from it."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from hythe.database import Session, reads_in
from hythe.hub.access.actions import HubAction
from hythe.hub.actor import HubActor
from hythe.hub.errors import Refused
from hythe.hub.page import MAX_CURSOR_LENGTH, PAGE_SIZE, Page, Paging
from hythe.hub.routes.declared_route import DeclaredRoute
from hythe.hub.routes.moved import redirect_headers
from hythe.hub.routes.parsing import parse_body, parse_fields, read_body
from hythe.hub.routes.preconditions import Turns, etag_of, is_unchanged, require_match
from hythe.hub.routes.problem_details import MethodNotAllowed, problem_response
from hythe.hub.routes.repository_addresses import shortest_names_first
from hythe.hub.routes.request_rates import RequestRates
from hythe.hub.service import HubServices
from hythe.hub.validation import Precondition
from hythe.registry.routes.cross_site import is_cross_site

B = TypeVar("B")
Q = TypeVar("Q")
T = TypeVar("T")


class Nothing(msgspec.Struct, frozen=True):
    """No fields."""


class PageQuery(msgspec.Struct, frozen=True):
    """The requested page of a list: its number, or the ``cursor`` that another page of the list gave for it."""

    page: int = 1
    page_size: int = PAGE_SIZE
    cursor: Annotated[str, Meta(max_length=MAX_CURSOR_LENGTH)] = ""

    def paging(self) -> Paging:
        """Return the validated paging. Raises Invalid."""
        return Paging(self.page, self.page_size, self.cursor)


class PageReply(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list of ``total`` items, or more if ``total_exact`` is false.

    ``next`` and ``previous`` are the cursors of the pages around it; empty: there are none. The header ``Link``
    contains their addresses. ``page`` is null if a cursor was given.
    """

    total: int
    total_exact: bool
    page: int | None
    page_size: int
    next: str
    previous: str
    items: tuple[T, ...]


@dataclass(frozen=True, slots=True)
class ApiRequest(Generic[B, Q]):
    """A parsed request: the actor, the parameters of path and query, the body, and the client's address.

    ``url`` is the URL that the client sees, without the query. ``unchanged`` compares the header ``If-Match``, if there
    is one with ETags and the endpoint ``compares``, with what a GET of the same address returns now.
    """

    actor: HubActor
    path: Mapping[str, str]
    query: Q
    body: B
    address: str
    url: str
    user_agent: str = ""
    unchanged: Precondition | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path. ``handler`` returns a value of type ``reply``, None for 204, or a
    response, which may be a stream.

    ``action`` is what it does, as the table of actions names it. ``lenient``: ignore unknown fields of the body, which
    another product defines. ``compares``: the handler has ``ApiRequest.unchanged`` called in a transaction.
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
    compares: bool = False
    action: HubAction = field(kw_only=True)


def page_reply(page: Page[Any], items: Iterable[T]) -> PageReply[T]:
    """Return a page with its items in the form of the API."""
    paging = page.paging
    number = None if paging.cursor else paging.page
    return PageReply(page.total, page.total_exact, number, paging.page_size, page.next, page.previous, tuple(items))


def routes_of(
    endpoints: Iterable[Endpoint],
    hub: HubServices,
    rates: RequestRates,
    failure: Callable[[Exception], Response] = problem_response,
) -> list[DeclaredRoute]:
    """Return a route for each path with all its methods; ``failure`` makes the responses for errors.

    The order is that of the table, but the shortest name of a repository in a path is matched first.
    """
    by_path: dict[str, dict[str, Endpoint]] = {}
    for endpoint in endpoints:
        by_path.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    routes = []
    turns = Turns()
    for path, methods in by_path.items():
        actions = {method: (endpoint.action,) for method, endpoint in methods.items()}
        answering = _Answering(methods, hub, rates, turns, failure)
        routes.append((path, DeclaredRoute(path, answering, actions, any_method=True)))
    return shortest_names_first(routes)


class _Answering:
    """The ASGI application of one path."""

    def __init__(
        self,
        methods: Mapping[str, Endpoint],
        hub: HubServices,
        rates: RequestRates,
        turns: Turns,
        failure: Callable[[Exception], Response],
    ) -> None:
        self._methods = methods
        self._hub = hub
        self._rates = rates
        self._failure = failure
        self._turns = turns

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        headers: dict[str, str] = {}
        try:
            endpoint = self._methods.get("GET" if request.method == "HEAD" else request.method)
            if endpoint is None:
                raise MethodNotAllowed(", ".join(self._methods))
            address = request.client.host if request.client else ""
            actor = await self._hub.credentials.by_header(request.headers.get("authorization"), address)
            headers = self._rates.count(actor, address)
            await self._hub.access.admit(actor, endpoint.action)
            call = await _call(self._hub, endpoint, request, actor, address)
            if endpoint.method in ("PUT", "PATCH", "DELETE"):
                return encoded(await self._change(request, endpoint, call), endpoint.status, headers)
            reply = await endpoint.handler(self._hub, call)
            if isinstance(reply, Response):
                reply.headers.update(headers)
                return reply
            if isinstance(reply, PageReply) and (links := _links(request, call, reply)):
                headers["Link"] = links
            response = encoded(reply, endpoint.status, headers)
            return _conditional(request, response) if endpoint.method == "GET" else response
        except Exception as error:
            response = self._failure(error)
            response.headers.update({**headers, **redirect_headers(request, error)})
            return response

    async def _change(self, request: Request, endpoint: Endpoint, call: ApiRequest[Any, Any]) -> Any:
        """Call the handler of a change in its turn, if the condition of the request holds."""
        expected = request.headers.get("if-match")
        async with self._turns.of(request.url.path):
            if expected is not None:
                await self._require_unchanged(expected, call)
                # With ``*`` it is enough that there is something, as the service finds out in its transaction anyway.
                if endpoint.compares and expected.strip() != "*":
                    call = replace(call, unchanged=partial(self._unchanged_in, expected, call))
            return await endpoint.handler(self._hub, call)

    async def _unchanged_in(self, expected: str, call: ApiRequest[Any, Any], session: Session) -> None:
        with reads_in(session):
            await self._require_unchanged(expected, call)

    async def _require_unchanged(self, expected: str, call: ApiRequest[Any, Any]) -> None:
        """Compare ``If-Match`` with what a GET of the same address returns now. Raises PreconditionFailed."""
        reading, current = self._methods.get("GET"), ""
        if reading is not None:
            query = parse_fields({}, reading.query, strict=False)
            call = replace(call, query=query, body=Nothing())
            current = etag_of(msgspec.json.encode(await reading.handler(self._hub, call)))
        require_match(expected, current)


def _conditional(request: Request, response: Response) -> Response:
    """Add an ETag; omit a body that the client has."""
    etag = etag_of(bytes(response.body))
    response.headers["ETag"] = etag
    response.headers["Vary"] = "Authorization"
    if is_unchanged(request.headers.get("if-none-match", ""), etag):
        del response.headers["Content-Length"], response.headers["Content-Type"]
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=response.headers)
    return response


async def _call(
    hub: HubServices, endpoint: Endpoint, request: Request, actor: HubActor, address: str
) -> ApiRequest[Any, Any]:
    _refuse_other_sites(hub, request)
    query = parse_fields(dict(request.query_params), endpoint.query, strict=False)
    body = Nothing()
    if endpoint.body is not Nothing:
        body = parse_body(await read_body(request), endpoint.body, lenient=endpoint.lenient)
    url = f"{hub.settings.public_url.rstrip('/') or str(request.base_url).rstrip('/')}{request.url.path}"
    user_agent = request.headers.get("user-agent", "")
    return ApiRequest(actor, request.path_params, query, body, address, url, user_agent)


def _refuse_other_sites(hub: HubServices, request: Request) -> None:
    """Browsers resend cached Basic credentials with forms of other sites."""
    if request.method in ("GET", "HEAD"):
        return
    hosts = frozenset({request.headers.get("host", ""), urlsplit(hub.settings.public_url).netloc} - {""})
    if is_cross_site(request.headers.get("origin"), request.headers.get("sec-fetch-site"), hosts):
        raise Refused("this request came from another site", "use the hub's own pages")


def _links(request: Request, call: ApiRequest[Any, Any], reply: PageReply[Any]) -> str:
    """Return the addresses of the pages around a page (RFC 8288)."""
    kept = [(name, value) for name, value in request.query_params.multi_items() if name not in ("page", "cursor")]
    cursors = {"next": reply.next, "prev": reply.previous}
    addresses = {rel: urlencode([*kept, ("cursor", cursor)]) for rel, cursor in cursors.items() if cursor}
    return ", ".join(f'<{call.url}?{query}>; rel="{rel}"' for rel, query in addresses.items())


def encoded(value: Any, status: HTTPStatus, headers: Mapping[str, str] | None = None) -> Response:
    """Return a value as a JSON response."""
    if status is HTTPStatus.NO_CONTENT:
        return Response(status_code=status, headers=headers)
    return Response(msgspec.json.encode(value), status, headers, media_type="application/json")
