"""Webhooks and deploy keys without a build configuration: the hub retries to remove them at the forge."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.parts.database import Run
from tests.parts.forges import running_forge
from tests.parts.forges.fake_forge import FakeForge, Project
from tests.parts.git_server import GitServer

from hythe.builds.forge_integration.service import ForgeServices, make_forge_services
from hythe.builds.service import make_builds
from hythe.builds.sql import forge_webhooks as rows
from hythe.builds.sql.forge_webhooks import ForgeWebhook
from hythe.database import Database
from hythe.database.tables.hub import users
from hythe.egress.policy import EgressPolicy
from hythe.forges.configured import open_forges
from hythe.hub.actor import HubActor
from hythe.hub.service import open_foundation
from hythe.settings import Settings

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def test_the_removal_is_retried(database: Database, run: Run[Any], tmp_path: Path, git_server: GitServer) -> None:
    """While the forge is unavailable, each retry comes later than the one before; then everything is removed."""

    async def remove(forge: FakeForge, project: Project) -> list[tuple[int, int, int]]:
        clock = Clock()
        settings = Settings(data=str(tmp_path))
        async with (
            open_foundation(database, settings, clock) as foundation,
            open_forges(forge.setting, EgressPolicy()) as forges,
        ):
            services = make_forge_services(foundation, make_builds(foundation, settings), forges)
            await add_orphan(database, services, forge, project)
            counts = []
            forge.fail_next += [503, 503, 503]
            # The first try fails twice, the second once; the third removes what is left.
            for seconds in (0, 29, 30, 89, 90):
                clock.now = NOW + timedelta(seconds=seconds)
                tried = await services.webhooks.remove_orphans()
                counts.append((tried, len(project.webhooks), len(project.deploy_keys)))
            return counts

    with running_forge("github") as forge:
        project = forge.add(git_server.create("o/r"))

        counts = run(remove(forge, project))

        assert counts == [(1, 1, 1), (0, 1, 1), (1, 1, 0), (0, 1, 0), (1, 0, 0)]
        assert forge.violations == []


async def add_orphan(database: Database, services: ForgeServices, forge: FakeForge, project: Project) -> None:
    """Add a webhook and a deploy key at the forge, and their row without a build configuration."""
    project.webhooks["1000"] = {"url": "https://hub.example/hooks/orphan", "secret": "secret"}
    project.deploy_keys["1001"] = {"title": "hythe", "key": "ssh-ed25519 AAAA", "read_only": True}
    user = {"email": "a@example.com", "password_hash": "", "admin": False, "default_visibility": "public"}
    async with database.writing() as session:
        await session.run(users.insert().values(id=1, name="alice", created_at=NOW, **user))
    actor = HubActor("alice", user_id=1)
    account = await services.linked_accounts.add_token(actor, forge.url, forge.token())
    orphan = ForgeWebhook(
        id="orphan",
        configuration_id=None,
        linked_account_id=account.id,
        forge_repository=project.name,
        hub_url="https://hub.example",
        remote_webhook_id="1000",
        public_key="ssh-ed25519 AAAA",
        remote_key_id="1001",
        problem="",
        attempts=0,
        created_at=NOW,
    )
    async with database.writing() as session:
        await rows.add(session, orphan, "sealed")
