"""All addresses of linked accounts and webhooks."""

from starlette.routing import BaseRoute

from hythe.builds.routes import forge_webhooks
from hythe.builds.routes.forge_webhooks import HookEndpoints
from hythe.builds.routes.linked_accounts import LinkedAccountEndpoints
from hythe.builds.sources import Sources
from hythe.hub.routes.endpoint import Endpoint


def endpoints(sources: Sources) -> tuple[Endpoint, ...]:
    """Return the JSON API's part, for the hub's table and description."""
    return (*LinkedAccountEndpoints(sources).table(), *HookEndpoints(sources).table())


def routes(sources: Sources) -> list[BaseRoute]:
    """Return every route that is not of the JSON API."""
    return forge_webhooks.routes(sources)
