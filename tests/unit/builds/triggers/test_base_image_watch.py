"""Repository links: what is rebuilt when a base image changes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.parts.base_images import Layout
from tests.parts.database import Run
from tests.parts.docker_registry import DockerRegistry
from tests.parts.engines import ContainersTool
from tests.unit.builds.test_queue import QUICK, Bench, lease_of

from hythe.builds.configuration import BuildConfiguration, BuildSource, NewBuildConfiguration, Options
from hythe.builds.events import BuildListener
from hythe.builds.rules import Rule
from hythe.builds.service import BuildsServices, make_builds
from hythe.builds.sql import base_image_watch as base_rows
from hythe.builds.sql import builds as build_rows
from hythe.builds.sql import configurations as configuration_rows
from hythe.builds.sql.builds import BuildFilter
from hythe.database import Database
from hythe.hub.service import open_foundation
from hythe.oci.digest import Digest
from hythe.registry.events import RepositoryRef, TagMove
from hythe.registry.sql import repositories as repository_rows
from hythe.settings import Settings
from hythe.worker.protocol import BuildOutcome, BuildResult

MOVE = TagMove("latest", Digest.of(b"new"), Digest.of(b"old"), datetime.now(UTC))
BASE = RepositoryRef(0, "alice/base", MOVE.at)


async def configure_linked(database: Database, name: str, bases: dict[str, str]) -> BuildConfiguration:
    """Configure a repository that is built from these images and follows them; create it if it does not exist."""
    now = datetime.now(UTC)
    new = NewBuildConfiguration(
        source=BuildSource(url="https://git.example/a/b.git"),
        rules=(Rule(source="main"),),
        options=Options(base_link=True),
    )
    async with database.writing() as session:
        if await repository_rows.find(session, name) is None:
            await repository_rows.create(session, name, now)
        made = await repository_rows.find(session, name)
        assert made is not None
        configuration_id = await configuration_rows.add(session, made.id, "alice", new, None, "token", "alice", now)
        await base_rows.replace(session, configuration_id, bases, now)
        found = await configuration_rows.by_id(session, configuration_id)
    assert found is not None
    return found


async def queued(database: Database, name: str) -> list[str]:
    """What started the builds of a repository."""
    async with database.reading() as session:
        return [build.started_by for build in await build_rows.find(session, BuildFilter(repository=name))]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a hub in this test's folder."""
    return Settings(data=str(tmp_path))


def test_a_moved_tag_queues_builds_from_it(database: Database, run: Run[Any], settings: Settings) -> None:
    """A tag that moves to another digest queues builds; pushing the same digest again does not."""

    async def move() -> tuple[list[str], list[str]]:
        async with open_foundation(database, settings) as foundation:
            builds: BuildsServices = make_builds(foundation, settings)
            await configure_linked(database, "alice/child", {"alice/base:latest": "sha256:0"})
            await configure_linked(database, "alice/other", {"alice/base:stable": "sha256:0"})
            same = TagMove("latest", MOVE.previous, MOVE.previous, MOVE.at)
            async with database.writing() as session:
                await builds.base_image_watch.tags_moved(session, BASE, (same, MOVE))
            return await queued(database, "alice/child"), await queued(database, "alice/other")

    assert run(move()) == (["alice/base:latest moved"], [])


def test_the_base_images_of_every_rule_are_recorded(database: Database, run: Run[Any], settings: Settings) -> None:
    """A build of one rule does not remove the base images of another."""

    async def build() -> list[str]:
        async with open_foundation(database, settings) as foundation:
            listeners: list[BuildListener] = []
            builds = make_builds(foundation, settings, listeners)
            listeners.append(builds.base_image_watch)
            bench = Bench(database, QUICK)
            configuration = await bench.set_up("alice/child")
            for branch, base in (("main", "one:1"), ("dev", "two:2"), ("main", "three:3")):
                await bench.push(configuration, "1", branch)
                claimed = await bench.claim()
                done = BuildOutcome(
                    status="succeeded", result=BuildResult(bases={f"hub/{base}": "sha256:0"}, registry="hub")
                )
                await builds.queue.finish(lease_of(claimed), done)
            async with database.reading() as session:
                return sorted(await base_rows.bases_of(session, "alice/child"))

    assert run(build()) == ["docker.io/hub/three:3", "docker.io/hub/two:2"]


def test_loops_are_not_followed(database: Database, run: Run[Any], settings: Settings) -> None:
    """Images that are built from each other in a circle do not rebuild each other."""

    async def move() -> list[list[str]]:
        async with open_foundation(database, settings) as foundation:
            builds = make_builds(foundation, settings)
            await configure_linked(database, "alice/a", {"alice/c:latest": "sha256:0"})
            await configure_linked(database, "alice/b", {"alice/a:latest": "sha256:0"})
            await configure_linked(database, "alice/c", {"alice/b:latest": "sha256:0"})
            async with database.writing() as session:
                for name in ("alice/a", "alice/b", "alice/c"):
                    repository = RepositoryRef(0, name, MOVE.at)
                    await builds.base_image_watch.tags_moved(session, repository, (MOVE,))
            return [await queued(database, name) for name in ("alice/a", "alice/b", "alice/c")]

    assert run(move()) == [[], [], []]


def test_base_images_of_other_registries_are_checked(
    database: Database,
    run: Run[Any],
    settings: Settings,
    docker_registry: DockerRegistry,
    skopeo: ContainersTool,
    busybox_layout: Layout,
) -> None:
    """A digest that changes in Debian's docker-registry queues one build."""
    image = f"{docker_registry.host}/base:latest"
    skopeo.ok("copy", "--dest-tls-verify=false", busybox_layout.source(), f"docker://{image}")

    async def check() -> list[int]:
        async with open_foundation(database, settings) as foundation:
            builds = make_builds(foundation, settings)
            await configure_linked(database, "alice/child", {image: "sha256:0"})
            return [await builds.base_image_watch.check(datetime.now(UTC)) for _ in range(2)]

    assert run(check()) == [1, 0]


def test_an_unreachable_registry_is_checked_again_later(database: Database, run: Run[Any], settings: Settings) -> None:
    """The known digest stays, and the next check asks the registry again."""

    async def check() -> tuple[int, int, int]:
        async with open_foundation(database, settings) as foundation:
            builds = make_builds(foundation, settings)
            await configure_linked(database, "alice/child", {"127.0.0.1:9/base:latest": "sha256:0"})
            began = datetime.now(UTC)
            queued = await builds.base_image_watch.check(began)
            async with database.reading() as session:
                same_round = len(await base_rows.due(session, began, 50))
                next_round = len(await base_rows.due(session, datetime.now(UTC), 50))
            return queued, same_round, next_round

    assert run(check()) == (0, 0, 1)
