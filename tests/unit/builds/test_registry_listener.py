"""How builds react to events of the registry."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from tests.parts.database import Run

from hythe.builds.service import make_builds
from hythe.database import Database
from hythe.database.tables.registry import manifests
from hythe.hub.actor import BuildLease, HubActor
from hythe.hub.service import open_foundation
from hythe.oci.digest import Digest
from hythe.oci.manifest import OCI_INDEX, Index, Manifest
from hythe.registry.events import PulledManifest, RepositoryRef, TagMove
from hythe.registry.sql import manifests as manifest_rows
from hythe.registry.sql import repositories as repository_rows
from hythe.settings import Settings
from hythe.worker.layer_tags import layer_tag

NOW = datetime.now(UTC)
BUILD = HubActor("build 1", build=BuildLease(1, 1, ""))


def an_index(kind: str) -> Manifest:
    """An index that differs from others by its artifact type."""
    return Manifest.parse(Index(2, OCI_INDEX, (), artifact_type=kind).encode(), OCI_INDEX)


async def with_indexes(database: Database, *kinds: str) -> tuple[RepositoryRef, list[Digest]]:
    """A repository with an index of each kind."""
    found = [an_index(kind) for kind in kinds]
    async with database.writing() as session:
        await repository_rows.create(session, "alice/app", NOW)
        made = await repository_rows.find(session, "alice/app")
        assert made is not None
        for each in found:
            references = manifest_rows.References(frozenset(), frozenset())
            await manifest_rows.add(session, made.id, str(each.digest()), each, references, NOW, "alice")
    return RepositoryRef(made.id, "alice/app", NOW), [each.digest() for each in found]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a hub in this test's folder."""
    return Settings(data=str(tmp_path))


def test_replaced_layers_are_collected(database: Database, run: Run[Any], settings: Settings) -> None:
    """Layers shared between workers are collected once newer ones have their tag; replaced images are kept."""

    async def freed() -> list[bool]:
        async with open_foundation(database, settings) as foundation:
            listener = make_builds(foundation, settings).registry_listener
            repository, [layers, image, new] = await with_indexes(database, "x/layers", "x/image", "x/new")
            tag = layer_tag("main", "", "Dockerfile", "", {}, "linux/amd64")
            moves = (TagMove(tag, new, layers, NOW), TagMove("latest", new, image, NOW))
            async with database.writing() as session:
                await listener.tags_moved(session, repository, moves, HubActor("alice"))
                rows = await session.rows(select(manifests.c.digest, manifests.c.free_after))
            due = {row.digest: row.free_after for row in rows}
            return [due[str(digest)] is not None for digest in (layers, image, new)]

    assert run(freed()) == [True, False, False]


def test_pulls_of_builds_are_not_counted(database: Database, run: Run[Any], settings: Settings) -> None:
    """Pulls of users are counted, those of builds are not."""

    async def counted() -> int:
        async with open_foundation(database, settings) as foundation:
            repository, [digest] = await with_indexes(database, "x/image")
            for actor in (BUILD, HubActor("alice"), BUILD):
                await foundation.listener.manifest_pulled(repository, PulledManifest("latest", digest, False, 1), actor)
            return foundation.pulls._counts[repository.id]

    assert run(counted()) == 1


def test_layer_tags_differ_by_what_is_built() -> None:
    """Each Dockerfile, stage, platform and set of arguments has its own tag."""
    first = layer_tag("main", "/app", "Dockerfile", "", {"A": "1", "B": "2"}, "linux/amd64")

    assert first == layer_tag("main", "app/", "Dockerfile", "", {"B": "2", "A": "1"}, "linux/amd64")
    assert first != layer_tag("main", "app", "Dockerfile", "", {"A": "1"}, "linux/amd64")
    assert first != layer_tag("main", "app", "Dockerfile", "", {"A": "1", "B": "2"}, "linux/arm64")
