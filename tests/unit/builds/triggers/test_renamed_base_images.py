"""Repository links whose Dockerfile names the base image by a name that it had."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.parts.database import Run
from tests.unit.builds.triggers.test_base_image_watch import MOVE, configure_linked, queued
from tests.unit.hub.conftest import CHEAP_HASHER
from tests.unit.hub.services import Clock, Services

from hythe.builds.account_listener import BuildAccountListener
from hythe.builds.service import make_builds
from hythe.database import Database
from hythe.hub.actor import HubActor
from hythe.hub.organizations.organizations import NewOrganization
from hythe.hub.renaming.transfers import NewTransfer
from hythe.hub.service import make_hub, open_foundation
from hythe.registry.policy import Policy
from hythe.registry.service import RegistryServices
from hythe.registry.sql import repositories as repository_rows
from hythe.registry.storage import open_blob_store
from hythe.settings import Settings

NEW = b'{"os":"new"}'


@pytest.fixture
def services(run: Run[Any], database: Database, tmp_path: Path) -> Iterator[Services]:
    """A hub on each database whose pushes start builds."""
    stack, clock, settings = AsyncExitStack(), Clock(), Settings(data=str(tmp_path))

    async def open_all() -> Services:
        foundation = await stack.enter_async_context(open_foundation(database, settings, clock, CHEAP_HASHER))
        builds = make_builds(foundation, settings)
        blobs = open_blob_store(tmp_path)
        stack.push_async_callback(blobs.close)
        listeners = (foundation.listener, builds.registry_listener)
        registry = RegistryServices(database, blobs, foundation.access, listeners, Policy.of(settings), clock)
        hub = make_hub(foundation, registry, (BuildAccountListener(builds.queue),))
        return Services(run, database, foundation, registry, hub, clock)

    yield run(open_all())
    run(stack.aclose())


@pytest.fixture
def ann(services: Services) -> HubActor:
    """A user."""
    return services.user("ann")


def test_a_base_image_by_every_former_name_queues_builds(services: Services, ann: HubActor) -> None:
    """Former names of the repository, of its account, and of both."""
    run, hub, database = services.run, services.hub, services.database
    services.push(ann, "ann/base")
    names = ["ann/base", "ann/root", "anna/base", "anna/root", "acme/top"]
    for number, name in enumerate(names):
        run(configure_linked(database, f"alice/child-{number}", {f"{name}:latest": "sha256:0"}))
    run(configure_linked(database, "alice/other-tag", {"ann/base:stable": "sha256:0"}))
    run(configure_linked(database, "alice/other", {"ann/other:latest": "sha256:0"}))

    run(hub.renames.rename_repository(ann, "ann/base", "root"))
    run(hub.renames.rename_account(ann, "ann", "anna"))
    anna = run(hub.credentials.by_password("anna", "correct horse"))
    run(hub.organizations.create(anna, NewOrganization("acme")))
    run(hub.transfers.transfer(anna, "anna/root", NewTransfer("acme", "top")))
    services.push(anna, "acme/top", content=NEW)

    for number in range(len(names)):
        assert run(queued(database, f"alice/child-{number}")) == ["acme/top:latest moved"]
    assert run(queued(database, "alice/other-tag")) == run(queued(database, "alice/other")) == []


def test_an_ended_redirect_queues_no_builds(services: Services, ann: HubActor) -> None:
    run, hub = services.run, services.hub
    services.push(ann, "ann/base")
    run(configure_linked(services.database, "alice/child", {"ann/base:latest": "sha256:0"}))
    run(hub.renames.rename_repository(ann, "ann/base", "root"))
    run(hub.renames.end_redirect(ann, "ann/base"))
    services.push(ann, "ann/root", content=NEW)
    assert run(queued(services.database, "alice/child")) == []


def test_loops_through_former_names_are_not_followed(services: Services, ann: HubActor) -> None:
    run, hub, database = services.run, services.hub, services.database
    for name in ("ann/one", "ann/two"):
        services.push(ann, name)
    run(configure_linked(database, "ann/one", {"ann/two:latest": "sha256:0"}))
    run(configure_linked(database, "ann/two", {"ann/one:latest": "sha256:0"}))
    run(hub.renames.rename_repository(ann, "ann/one", "first"))
    run(hub.renames.rename_repository(ann, "ann/two", "second"))
    watch = make_builds(services.foundation, services.foundation.settings).base_image_watch

    async def move(name: str) -> list[str]:
        async with database.writing() as session:
            repository = await repository_rows.find(session, name)
            assert repository is not None
            await watch.tags_moved(session, repository, (MOVE,))
        return [*await queued(database, "ann/first"), *await queued(database, "ann/second")]

    assert [run(move(name)) for name in ("ann/first", "ann/second")] == [[], []]
