"""The servers that the protocol's suites run against: the private registry on both databases, and the hub."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
from tests.contracts.distribution import NAMESPACE, Client, fresh_name
from tests.parts.hub import HUB, REGISTRY, HytheServer, server_factory

PASSWORD = "correct horse battery"


@pytest.fixture(scope="session", params=["sqlite", "postgresql", "hub"])
def distribution_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HytheServer]:
    """One server for the session: an open registry, or a hub where the tests' namespace is an account."""
    url = request.getfixturevalue("new_postgresql_url")() if request.param == "postgresql" else None
    verb = HUB if request.param == "hub" else REGISTRY
    with server_factory(tmp_path_factory.mktemp("distribution"), verb) as start:
        server = start(database_url=url)
        if verb == HUB:
            server.create_user(NAMESPACE, PASSWORD)
        yield server


@pytest.fixture
def registry(distribution_server: HytheServer) -> Iterator[Client]:
    """A connection to the server, signed in where that is needed."""
    basic = base64.b64encode(f"{NAMESPACE}:{PASSWORD}".encode()).decode()
    signed_in = {"Authorization": f"Basic {basic}"} if distribution_server.verb == HUB else {}
    client = Client(distribution_server.port, signed_in)
    yield client
    client.close()


@pytest.fixture
def name() -> str:
    """A repository of the test's own."""
    return fresh_name()
