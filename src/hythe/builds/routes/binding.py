"""Endpoints of Trusted Builds: their handlers receive the builds' services, not only the hub."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeAlias

from hythe.builds.service import BuildsServices
from hythe.hub.access.actions import HubAction
from hythe.hub.routes.endpoint import Endpoint, Nothing
from hythe.hub.service import HubServices

Handler: TypeAlias = Callable[[BuildsServices, HubServices, Any], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class BuildsEndpoint:
    """An endpoint whose handler is not bound to the builds' services yet; see Endpoint.

    ``reply`` None: no body. ``status`` None: 200, or 204 without a body.
    """

    method: str
    path: str
    summary: str
    handler: Handler
    body: type[Any] = Nothing
    query: type[Any] = Nothing
    reply: Any = None
    status: HTTPStatus | None = None
    lenient: bool = False
    action: HubAction = field(kw_only=True)

    def bound(self, builds: BuildsServices) -> Endpoint:
        """Return the endpoint of the hub, with its handler bound to ``builds``."""

        async def handle(hub: HubServices, call: Any) -> Any:
            return await self.handler(builds, hub, call)

        return Endpoint(
            self.method,
            self.path,
            self.summary,
            handle,
            body=self.body,
            query=self.query,
            reply=self.reply,
            status=self.status or (HTTPStatus.OK if self.reply else HTTPStatus.NO_CONTENT),
            lenient=self.lenient,
            action=self.action,
        )


def bound_endpoints(builds: BuildsServices, endpoints: Iterable[BuildsEndpoint]) -> list[Endpoint]:
    """Return the endpoints with their handlers bound to ``builds``."""
    return [each.bound(builds) for each in endpoints]
