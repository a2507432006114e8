"""Connection flags and the client for all verbs that use a registry."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager

from hythe.client.client import Client


def add_connection_flags(parser: ArgumentParser) -> None:
    """Add the flags for connections to registries."""
    parser.add_argument("--plain-http", action="store_true", help="use HTTP without TLS for every host")


@contextmanager
def connected(arguments: Namespace) -> Iterator[Client]:
    """Yield a client configured by the user's settings and the verb's flags."""
    client = Client(plain_http=("*",) if arguments.plain_http else ())
    try:
        yield client
    finally:
        client.close()


def hub_host(client: Client, given: str) -> str:
    """Return the host of the hub that a verb talks to: the given one, or the default registry."""
    return given or client.configuration.default_registry


def add_hub_flags(parser: ArgumentParser) -> None:
    """Add the flags of verbs that use a hub's JSON API."""
    parser.add_argument("--host", default="", help="address of the hub (default: the default registry)")
    add_connection_flags(parser)
