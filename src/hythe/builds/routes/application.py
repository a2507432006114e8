"""All routes of Trusted Builds."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from hythe.builds.routes import administration, live, workers
from hythe.builds.routes import builds as build_routes
from hythe.builds.routes import configurations as configurations
from hythe.builds.service import BuildsServices
from hythe.hub.routes.endpoint import Endpoint
from hythe.hub.routes.moved import redirect_headers
from hythe.hub.routes.problem_details import problem_response
from hythe.hub.service import HubServices

_BUILD = "/api/v1/repositories/{namespace}/{name:path}/builds/{number:int}"

PLAIN: tuple[tuple[str, str, Callable[[BuildsServices, HubServices, Request], Awaitable[Response]]], ...] = (
    ("GET", f"{_BUILD}/log", live.log_text),
    ("GET", f"{_BUILD}/events", live.log_events),
    ("GET", "/badge/{namespace}/{name:path}.svg", live.badge),
    ("POST", "/u/{namespace}/{name:path}/trigger/{token}/", live.trigger),
    ("POST", "/u/{namespace}/{name:path}/trigger/{token}", live.trigger),
    ("GET", "/.well-known/hythe/builds.pem", live.public_key),
)


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
        Route("/api/v1/workers/claim", workers.authenticated(builds, workers.claim), methods=["POST"]),
        Route("/api/v1/workers/kept-disks", workers.authenticated(builds, workers.kept_disks), methods=["POST"]),
        Route(
            "/api/v1/workers/builds/{build_id:int}/{what}",
            workers.authenticated(builds, workers.build_call),
            methods=["POST"],
        ),
        *(Route(path, _bound(builds, hub, handler), methods=[method]) for method, path, handler in PLAIN),
    ]


def _bound(
    builds: BuildsServices,
    hub: HubServices,
    handler: Callable[[BuildsServices, HubServices, Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        try:
            return await handler(builds, hub, request)
        except Exception as error:
            response = problem_response(error)
            response.headers.update(redirect_headers(request, error))
            return response

    return handle
