"""Routes that say what they do, so that tests compare every route of the hub with the table of actions."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from starlette.routing import Route

from hythe.hub.access.actions import HubAction
from hythe.hub.access.route_rules import RouteRule

Declared: TypeAlias = HubAction | RouteRule
"""What a route does: an action of the table, or who may use it if its clients are no users."""


class DeclaredRoute(Route):
    """A route with what each of its methods does."""

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        actions: Mapping[str, tuple[Declared, ...]],
        *,
        any_method: bool = False,
        name: str | None = None,
    ) -> None:
        """``any_method``: the endpoint is an ASGI application, which refuses other methods itself."""
        super().__init__(path, endpoint, methods=None if any_method else list(actions), name=name)
        self.actions = actions
