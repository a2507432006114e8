"""Handlers of the JSON API receive the hub; those of Trusted Builds receive its builds, too."""

from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import Any, TypeAlias

from hythe.builds.service import BuildsServices
from hythe.hub.access.actions import HubAction
from hythe.hub.routes.endpoint import Endpoint
from hythe.hub.service import HubServices

Handler: TypeAlias = Callable[[BuildsServices, HubServices, Any], Awaitable[Any]]

EndpointRow: TypeAlias = tuple[str, str, str, Handler, HubAction, Any, Any, Any]
"""Method, path, summary, handler, action, and the types of body, query and reply (None: 204 without a body)."""


def bound(builds: BuildsServices, handler: Handler) -> Callable[[HubServices, Any], Awaitable[Any]]:
    """Return ``handler`` with the signature of the hub's endpoints."""

    async def handle(hub: HubServices, call: Any) -> Any:
        return await handler(builds, hub, call)

    return handle


def bound_endpoints(builds: BuildsServices, rows: Iterable[EndpointRow]) -> list[Endpoint]:
    """Return the endpoints that the rows describe, with their handlers bound to ``builds``."""
    return [
        Endpoint(
            method,
            path,
            summary,
            bound(builds, handler),
            body=body,
            query=query,
            reply=reply,
            status=HTTPStatus.OK if reply else HTTPStatus.NO_CONTENT,
            action=action,
        )
        for method, path, summary, handler, action, body, query, reply in rows
    ]
