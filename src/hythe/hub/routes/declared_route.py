"""Routes that say what they do, so that a test can compare every route of the hub with the table of actions."""

from collections.abc import Callable, Mapping
from typing import Any

from starlette.routing import Route

from hythe.hub.access.actions import HubAction
from hythe.hub.access.route_rules import RouteRule

Declared = HubAction | RouteRule


class DeclaredRoute(Route):
    """A route with what each of its methods does: actions of the table, or a rule for clients that are no users."""

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        actions: Mapping[str, tuple[HubAction | RouteRule, ...]],
        *,
        methods: list[str] | None = None,
        name: str | None = None,
    ) -> None:
        """``methods`` None: those in ``actions`` for a function; an ASGI application gets every request."""
        super().__init__(path, endpoint, methods=methods, name=name)
        self.actions = actions
