"""All addresses of linked accounts and webhooks."""

from starlette.routing import BaseRoute

from hythe.builds.routes import forge_hooks
from hythe.builds.routes.forge_hooks import HookEndpoints
from hythe.builds.routes.links import LinkEndpoints
from hythe.builds.sources import Sources
from hythe.hub.routes.endpoint import Endpoint


def endpoints(sources: Sources) -> tuple[Endpoint, ...]:
    """Return the JSON API's part, for the hub's table and description."""
    return (*LinkEndpoints(sources).table(), *HookEndpoints(sources).table())


def routes(sources: Sources) -> list[BaseRoute]:
    """Return every route that is not of the JSON API."""
    return forge_hooks.routes(sources)
