"""Handlers of the JSON API receive the hub; those of Trusted Builds receive its builds, too."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from hythe.builds.service import BuildsServices
from hythe.hub.service import HubServices

Handler: TypeAlias = Callable[[BuildsServices, HubServices, Any], Awaitable[Any]]


def bound(builds: BuildsServices, handler: Handler) -> Callable[[HubServices, Any], Awaitable[Any]]:
    """Return ``handler`` with the signature of the hub's endpoints."""

    async def handle(hub: HubServices, call: Any) -> Any:
        return await handler(builds, hub, call)

    return handle
