"""What all verbs that speak to registries share: the flags, and the client made of them."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager

from hythe.client.client import Client


def add_connection_flags(parser: ArgumentParser) -> None:
    """Add the flags that say how to reach registries."""
    parser.add_argument("--plain-http", action="store_true", help="speak plain HTTP, without TLS, to any host")


@contextmanager
def connected(arguments: Namespace) -> Iterator[Client]:
    """Yield the client for one verb, with the user's settings and the verb's flags."""
    client = Client(plain_http=("*",) if arguments.plain_http else ())
    try:
        yield client
    finally:
        client.close()
