"""Rules of routes that do nothing in the table of actions, because their clients are no users."""

from enum import Enum


class RouteRule(Enum):
    """Who may use a route: ``who`` may, and ``routes`` says which ones these are."""

    PUBLIC = (
        "anyone, even if the hub shows nothing without signing in",
        "the token server, public keys, the hashes of the tag log, the API's description, static files, health checks",
    )
    WORKER_TOKEN = ("build workers, by the worker token; for a build, by its key, too", "the worker protocol")
    SIGNATURE = ("forges, by the signature of the webhook", "webhooks of forges")
    INSTALLATION_KEY = (
        "second sites, by the key that seals the hub's secrets, if the setting second_sites allows",
        "the rows that a second site takes over",
    )
    SECRET_ADDRESS = (
        "anyone who knows the secret in the address",
        "trigger URLs of builds, callback URLs of webhooks",
    )

    def __init__(self, who: str, routes: str) -> None:
        self.who = who
        self.routes = routes
