"""All routes of linked accounts and forge webhooks."""

from starlette.routing import BaseRoute

from hythe.builds.forge_integration.service import ForgeServices
from hythe.builds.routes import forge_webhooks
from hythe.builds.routes.forge_webhooks import ForgeWebhookEndpoints
from hythe.builds.routes.linked_accounts import LinkedAccountEndpoints
from hythe.hub.routes.endpoint import Endpoint


def endpoints(forges: ForgeServices) -> tuple[Endpoint, ...]:
    """Return the endpoints of the JSON API, for the hub's table and its OpenAPI description."""
    return (*LinkedAccountEndpoints(forges).table(), *ForgeWebhookEndpoints(forges).table())


def routes(forges: ForgeServices) -> list[BaseRoute]:
    """Return the routes outside the JSON API."""
    return forge_webhooks.routes(forges)
