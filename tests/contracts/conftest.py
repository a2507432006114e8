"""The private registry as a process of its own, on both databases: what the protocol's suites run against."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.contracts.distribution import Client, fresh_name
from tests.parts.hub import REGISTRY, HytheServer, server_factory


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def distribution_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HytheServer]:
    """One open registry for the session."""
    url = request.getfixturevalue("postgresql").create() if request.param == "postgresql" else None
    with server_factory(tmp_path_factory.mktemp("distribution"), REGISTRY) as start:
        yield start(database_url=url)


@pytest.fixture
def registry(distribution_server: HytheServer) -> Iterator[Client]:
    """A connection to the registry."""
    client = Client(distribution_server.port)
    yield client
    client.close()


@pytest.fixture
def name() -> str:
    """A repository of the test's own."""
    return fresh_name()
