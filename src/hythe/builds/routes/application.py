"""All routes of Trusted Builds."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from hythe.builds.routes import administration, live, workers
from hythe.builds.routes import builds as build_routes
from hythe.builds.routes import configurations as configurations
from hythe.builds.service import BuildsServices
from hythe.hub.access.actions import HubAction
from hythe.hub.access.route_rules import RouteRule
from hythe.hub.routes.declared_route import Declared, DeclaredRoute
from hythe.hub.routes.endpoint import Endpoint
from hythe.hub.routes.moved import redirect_headers
from hythe.hub.routes.problem_details import problem_response
from hythe.hub.service import HubServices

_BUILD = "/api/v1/repositories/{namespace}/{name:path}/builds/{number:int}"

Answering: TypeAlias = Callable[[BuildsServices, HubServices, Request], Awaitable[Response]]

PLAIN: tuple[tuple[str, str, Answering, Declared], ...] = (
    ("GET", f"{_BUILD}/log", live.log_text, HubAction.VIEW_REPOSITORY),
    ("GET", f"{_BUILD}/events", live.log_events, HubAction.VIEW_REPOSITORY),
    ("GET", "/badge/{namespace}/{name:path}.svg", live.badge, HubAction.VIEW_REPOSITORY),
    ("POST", "/u/{namespace}/{name:path}/trigger/{token}/", live.trigger, RouteRule.SECRET_ADDRESS),
    ("POST", "/u/{namespace}/{name:path}/trigger/{token}", live.trigger, RouteRule.SECRET_ADDRESS),
    ("GET", "/.well-known/hythe/builds.pem", live.public_key, RouteRule.PUBLIC),
)
"""The routes outside the JSON API, each with what it does."""

OF_WORKERS = (
    ("/api/v1/workers/claim", workers.claim),
    ("/api/v1/workers/kept-disks", workers.kept_disks),
    ("/api/v1/workers/builds/{build_id:int}/{what}", workers.build_call),
)
"""The worker protocol; all of it is POST."""


def endpoints(builds: BuildsServices) -> tuple[Endpoint, ...]:
    """Return the endpoints of the JSON API, for the hub's table and OpenAPI description."""
    return (
        *configurations.endpoints(builds),
        *build_routes.endpoints(builds),
        *administration.endpoints(builds),
    )


def routes(builds: BuildsServices, hub: HubServices) -> list[BaseRoute]:
    """Return the other routes; they come before the hub's, whose names can contain slashes."""
    return [
        *(
            DeclaredRoute(path, workers.authenticated(builds, handler), {"POST": (RouteRule.WORKER_TOKEN,)})
            for path, handler in OF_WORKERS
        ),
        *(
            DeclaredRoute(path, _bound(builds, hub, handler), {method: (declared,)})
            for method, path, handler, declared in PLAIN
        ),
    ]


def _bound(
    builds: BuildsServices,
    hub: HubServices,
    handler: Answering,
) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        try:
            return await handler(builds, hub, request)
        except Exception as error:
            response = problem_response(error)
            response.headers.update(redirect_headers(request, error))
            return response

    return handle
