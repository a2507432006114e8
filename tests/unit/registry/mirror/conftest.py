"""A mirror in front of a stand-in of an upstream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.parts.database import Run
from tests.unit.registry.depot import Clock
from tests.unit.registry.mirror.upstream_stand_in import MirrorDepot, UpstreamStandIn

from hythe.database import Database
from hythe.egress.policy import EgressPolicy
from hythe.registry.anonymous import AnonymousAccess
from hythe.registry.mirror.mirror import Mirror
from hythe.registry.mirror.upstreams import Upstreams
from hythe.registry.policy import Policy
from hythe.registry.service import RegistryServices
from hythe.registry.storage import open_blob_store


@pytest.fixture
def credentials() -> str:
    """The part before the host in the upstream's URL; a test may say otherwise."""
    return ""


@pytest.fixture
def mirror(
    run: Run[Any], database: Database, policy: Policy, tmp_path: Path, credentials: str
) -> Iterator[MirrorDepot]:
    """A mirror of an empty upstream."""
    clock, upstream = Clock(), UpstreamStandIn()
    server = run(upstream.start())
    storage = open_blob_store(tmp_path / "blobs")
    access = AnonymousAccess()
    upstreams = Upstreams(f"up.example=http://{credentials}{upstream.host}")
    egress = EgressPolicy.parse("")
    made = Mirror(upstreams, tmp_path, database, storage, access, policy, egress, clock)
    registry = RegistryServices(database, storage, access, (), policy, clock, mirror=made)
    yield MirrorDepot(run, upstream, registry, clock, server)
    run(registry.close())
    run(server.cleanup())
    run(storage.close())
