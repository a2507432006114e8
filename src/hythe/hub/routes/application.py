"""All routes of the hub in one table."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache
from http import HTTPStatus
from typing import TypeAlias

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from hythe.hub.access.actions import HubAction
from hythe.hub.access.route_rules import RouteRule
from hythe.hub.errors import NotFound
from hythe.hub.routes import (
    abuse_reports,
    administration,
    audit,
    collaborators,
    docker_hub,
    email_addresses,
    garbage,
    identities,
    invitations,
    mail,
    members,
    organizations,
    password_resets,
    personal_tokens,
    renames,
    repositories,
    robots,
    second_factors,
    sessions,
    tag_log,
    tags,
    takedowns,
    teams,
    trust_rules,
    users,
)
from hythe.hub.routes import index_v1 as original
from hythe.hub.routes.declared_route import Declared, DeclaredRoute
from hythe.hub.routes.description import describe
from hythe.hub.routes.endpoint import Endpoint, routes_of
from hythe.hub.routes.problem_details import problem_response
from hythe.hub.routes.request_rates import RequestRates
from hythe.hub.routes.token_server import answer_token
from hythe.hub.service import HubServices

Answering: TypeAlias = Callable[[HubServices, Request], Awaitable[Response]]

ENDPOINTS: tuple[Endpoint, ...] = (
    *audit.ENDPOINTS,
    *users.ENDPOINTS,
    *email_addresses.ENDPOINTS,
    *password_resets.ENDPOINTS,
    *sessions.ENDPOINTS,
    *mail.ENDPOINTS,
    *takedowns.ENDPOINTS,
    *abuse_reports.ENDPOINTS,
    *administration.ENDPOINTS,
    *garbage.ENDPOINTS,
    *personal_tokens.ENDPOINTS,
    *second_factors.ENDPOINTS,
    *identities.ENDPOINTS,
    *robots.ENDPOINTS,
    *trust_rules.ENDPOINTS,
    *tag_log.ENDPOINTS,
    *organizations.ENDPOINTS,
    *members.ENDPOINTS,
    *teams.ENDPOINTS,
    *invitations.ENDPOINTS,
    *collaborators.ENDPOINTS,
    *renames.ENDPOINTS,
    *tags.ENDPOINTS,  # before repositories, whose names may contain slashes
    *repositories.ENDPOINTS,
)
"""The JSON API."""

PLAIN: tuple[tuple[str, str, Answering, Declared], ...] = (
    ("GET", "/token", answer_token, RouteRule.PUBLIC),
    ("POST", "/token", answer_token, RouteRule.PUBLIC),
    ("GET", "/v1/_ping", original.ping, RouteRule.PUBLIC),
    ("GET", "/v1/users/", original.log_in, HubAction.SIGN_IN),
    ("POST", "/v1/users/", original.sign_up, HubAction.SIGN_UP),
    ("GET", "/v1/search", original.search, HubAction.BROWSE),
    *tag_log.PLAIN,
)
"""APIs of other products, which their clients use, and the tag log in the form of C2SP; each with what it does."""


def routes(hub: HubServices, more: tuple[Endpoint, ...] = (), rates: RequestRates | None = None) -> list[BaseRoute]:
    """Return all routes of the hub for a Starlette application; ``more`` are endpoints of packages above the hub.

    ``rates`` counts the requests of clients; without one, these routes count alone.
    """
    rates = rates or RequestRates(hub.settings.api_requests_per_minute)
    table = (*more, *ENDPOINTS)  # last, because repository names may contain slashes
    return [
        *(
            DeclaredRoute(path, _bound(hub, answering), {method: (declared,)})
            for method, path, answering, declared in PLAIN
        ),
        DeclaredRoute("/api/openapi.json", _description(table), {"GET": (RouteRule.PUBLIC,)}),
        *routes_of(table, hub, rates),
        *routes_of(docker_hub.ENDPOINTS, hub, rates, docker_hub.failure_response),
        NothingElse(("/api/",), problem_response),
        NothingElse(docker_hub.PREFIXES, docker_hub.failure_response),
    ]


def _bound(hub: HubServices, answering: Answering) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            return await answering(hub, request)
        except Exception as error:
            return problem_response(error)

    return answer


def _description(table: tuple[Endpoint, ...]) -> Callable[[Request], Awaitable[Response]]:
    @cache
    def body() -> bytes:
        return msgspec.json.encode(describe(table))

    async def answer(_request: Request) -> Response:
        content = await asyncio.to_thread(body)  # the first time takes 50 ms, which the start should not wait for
        return Response(content, HTTPStatus.OK, media_type="application/json")

    return answer


class NothingElse(BaseRoute):
    """Responds to every other path with these prefixes with an error. A pattern would miss paths with line breaks."""

    def __init__(self, prefixes: tuple[str, ...], failure: Callable[[Exception], Response]) -> None:
        self._prefixes = prefixes
        self._failure = failure

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """See BaseRoute."""
        return (Match.FULL if scope["type"] == "http" and scope["path"].startswith(self._prefixes) else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See BaseRoute."""
        response = self._failure(NotFound("no such address", "/api/openapi.json lists all addresses"))
        await response(scope, receive, send)
