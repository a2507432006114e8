"""Rules of routes that do nothing in the table of actions, because their clients are no users."""

from enum import Enum


class RouteRule(Enum):
    """Who may use a route; the value says it in ``docs/roles.md``."""

    PUBLIC = "anyone, even if the hub shows nothing without signing in"
    WORKER_TOKEN = "build workers, by the worker token"  # noqa: S105 (a description)
    SIGNATURE = "forges, by the signature of the webhook"
    SECRET_ADDRESS = "anyone who knows the secret in the address"  # noqa: S105 (a description)
