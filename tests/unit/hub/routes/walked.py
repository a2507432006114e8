"""Every route that the tests of the table of actions send requests to, apart from pages and the registry protocol.

``tests/unit/server/test_declared_routes.py`` compares these tables with the routes of the whole application.
"""

from typing import Any
from unittest.mock import Mock

from hythe.builds.routes import application as build_routes
from hythe.builds.routes import forge_integration
from hythe.hub.access.route_rules import RouteRule
from hythe.hub.routes import application, docker_hub
from hythe.hub.routes.declared_route import Declared
from hythe.hub.routes.endpoint import Endpoint
from hythe.notifications.routes import webhooks
from hythe.replication.follower import ROWS_PATH
from hythe.replication.routes import replications
from hythe.server.hub import HEALTH

NO_SERVICES: Any = Mock()
"""The endpoints are used as descriptions only."""

API: tuple[Endpoint, ...] = (
    *application.ENDPOINTS,
    *docker_hub.ENDPOINTS,
    *forge_integration.endpoints(NO_SERVICES),
    *webhooks.endpoints(NO_SERVICES),
    *replications.endpoints(NO_SERVICES),
    *build_routes.endpoints(NO_SERVICES),
)
"""The JSON API and Docker Hub's."""

MACHINES: tuple[tuple[str, str, Declared], ...] = (
    *((method, path, declared) for method, path, _, declared in (*application.PLAIN, *build_routes.PLAIN)),
    *(("POST", path, RouteRule.WORKER_TOKEN) for path, _ in build_routes.OF_WORKERS),
    ("POST", "/hooks/{id}", RouteRule.SIGNATURE),
    ("POST", webhooks.CALLBACK_PATH, RouteRule.SECRET_ADDRESS),
    ("GET", "/api/openapi.json", RouteRule.PUBLIC),
    ("GET", ROWS_PATH, RouteRule.INSTALLATION_KEY),
    *HEALTH,
    ("GET", "/static/{name}", RouteRule.PUBLIC),
)
"""What is neither the registry protocol nor an API nor a page."""
