"""A hub on each database, and its users."""

from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from tests.parts.database import Run
from tests.unit.hub.services import Clock, Services

from hythe.database import Database
from hythe.hub.actor import ANONYMOUS, HubActor
from hythe.hub.logs.audit_listener import AuditListener
from hythe.hub.service import make_hub, open_foundation
from hythe.registry.policy import Policy
from hythe.registry.service import RegistryServices
from hythe.registry.storage import open_blob_store
from hythe.settings import Settings

CHEAP_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
"""Real argon2id at the lowest cost that the library allows."""


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    """The settings of the hub; tests can override them."""
    return Settings(data=str(tmp_path), database_url=database_url)


@pytest.fixture
def services(run: Run[Any], database: Database, settings: Settings, tmp_path: Path) -> Iterator[Services]:
    """A hub without accounts, on each database."""
    stack = AsyncExitStack()
    clock = Clock()

    async def open_all() -> Services:
        foundation = await stack.enter_async_context(open_foundation(database, settings, clock, CHEAP_HASHER))
        blobs = open_blob_store(tmp_path)
        stack.push_async_callback(blobs.close)
        registry = RegistryServices(
            database, blobs, foundation.access, (foundation.listener, AuditListener(clock)), Policy.of(settings), clock
        )
        return Services(run, database, foundation, registry, make_hub(foundation, registry), clock)

    yield run(open_all())
    run(stack.aclose())


@pytest.fixture
def ann(services: Services) -> HubActor:
    """A user."""
    return services.user("ann")


@pytest.fixture
def ben(services: Services) -> HubActor:
    """Another user."""
    return services.user("ben")


@pytest.fixture
def curator(services: Services) -> HubActor:
    """An administrator."""
    return services.user("curator", admin=True)


@pytest.fixture
def anonymous() -> HubActor:
    """A client that is not signed in."""
    return ANONYMOUS
