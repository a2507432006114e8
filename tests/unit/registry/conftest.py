"""The registry of these tests, on each database, on a local disk, open to everybody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.parts.database import Run
from tests.unit.registry.depot import GRACE, Clock, Depot

from hythe.database import Database
from hythe.registry.anonymous import AnonymousAccess
from hythe.registry.policy import Policy
from hythe.registry.service import RegistryServices
from hythe.registry.storage import open_blob_store


@pytest.fixture
def policy() -> Policy:
    """How long things are kept; a test may say otherwise."""
    return Policy(grace=GRACE, upload_lifetime=2 * GRACE)


@pytest.fixture
def depot(run: Run[Any], database: Database, policy: Policy, tmp_path: Path) -> Iterator[Depot]:
    """An empty registry."""
    clock = Clock()
    storage = open_blob_store(tmp_path / "blobs")
    registry = RegistryServices(database, storage, AnonymousAccess(), (), policy, clock)
    yield Depot(run, database, storage, registry, clock)
    run(storage.close())
