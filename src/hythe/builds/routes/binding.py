"""Handlers of the JSON API get the hub; those of Trusted Builds need its builds, too."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from hythe.builds.service import BuildsServices
from hythe.hub.service import Hub

Handler: TypeAlias = Callable[[BuildsServices, Hub, Any], Awaitable[Any]]


def bound(builds: BuildsServices, handler: Handler) -> Callable[[Hub, Any], Awaitable[Any]]:
    """Return ``handler`` as the hub's table of addresses wants it."""

    async def answer(hub: Hub, call: Any) -> Any:
        return await handler(builds, hub, call)

    return answer
