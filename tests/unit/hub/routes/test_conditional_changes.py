"""Changes with If-Match: while few connections of the database are free, and on two servers with one database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.unit.hub.routes.people import PASSWORD

from hythe.database import DatabaseError, Session, postgresql_pool
from hythe.hub.accounts.users import NewUser
from hythe.hub.actor import HubActor
from hythe.hub.organizations.organization import DefaultRole
from hythe.hub.organizations.organizations import OrganizationChange
from hythe.hub.organizations.teams import TeamChange
from hythe.hub.repositories.repositories import RepositoryChange
from hythe.hub.service import HubServices
from hythe.hub.validation import Precondition
from hythe.server.hub import HubApplication, Services, open_hub
from hythe.settings import Settings

Change = Callable[[HubServices, HubActor, Precondition], Coroutine[Any, Any, Any]]

CHANGES: tuple[tuple[str, str, dict[str, str] | None], ...] = (
    ("PATCH", "organizations/acme", {"member_role": "write"}),
    ("PATCH", "organizations/acme/teams/web", {"description": "makes pages"}),
    ("DELETE", "organizations/acme/teams/web", None),
    ("PATCH", "repositories/acme/app", {"description": "a page"}),
    ("DELETE", "repositories/acme/app", None),
    ("DELETE", "organizations/acme?confirm=acme", None),
)


def _client(services: Services) -> httpx2.AsyncClient:
    """Return a client of one server, with which ann signs in."""
    transport = httpx2.ASGITransport(HubApplication(services))
    return httpx2.AsyncClient(transport=transport, base_url="http://localhost/api/v1/", auth=("ann", PASSWORD))


async def _prepare(services: Services, ann: httpx2.AsyncClient) -> None:
    """Create ann, and what she changes."""
    await services.hub.users.create(HubActor.operator(), NewUser("ann", "ann@example.com", PASSWORD))
    await ann.post("organizations", json={"name": "acme"})
    await ann.post("organizations/acme/teams", json={"name": "web"})
    await ann.post("repositories", json={"namespace": "acme", "name": "app"})


def test_a_change_needs_one_connection(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction that waited for a second one would hold its locks until those that wait for them give up."""
    monkeypatch.setattr(postgresql_pool, "MAX_CONNECTIONS", 2)

    async def statuses() -> list[tuple[int, int]]:
        async with (
            open_hub(Settings(data=str(tmp_path), database_url=database_url)) as services,
            _client(services) as ann,
        ):
            await _prepare(services, ann)
            async with services.database.reading():
                return [await changed(ann, *change) for change in CHANGES]

    async def changed(ann: httpx2.AsyncClient, method: str, path: str, body: dict[str, str] | None) -> tuple[int, int]:
        """Return the statuses of a change of another state, and of the present one."""
        etag = (await ann.get(path)).headers["ETag"]
        conditions = ('"another"', etag)
        stale, fresh = [await ann.request(method, path, json=body, headers={"If-Match": each}) for each in conditions]
        return stale.status_code, fresh.status_code

    assert asyncio.run(statuses()) == [(412, 200), (412, 200), (412, 204), (412, 200), (412, 204), (412, 200)]


DELETIONS: dict[str, tuple[str, int, Change]] = {
    "organization": (
        "organizations/acme?confirm=acme",
        200,
        lambda hub, ann, held: hub.organizations.change(
            ann, "acme", OrganizationChange(member_role=DefaultRole.WRITE), held
        ),
    ),
    "team": (
        "organizations/acme/teams/web",
        204,
        lambda hub, ann, held: hub.teams.change(ann, "acme", "web", TeamChange(description="makes pages"), held),
    ),
    "repository": (
        "repositories/acme/app",
        204,
        lambda hub, ann, held: hub.repositories.edit(ann, "acme/app", RepositoryChange(description="a page"), held),
    ),
}
"""What is deleted on one server with this status, while another one changes it."""


async def _during_a_change(kind: str, settings: Settings, *, conditional: bool) -> tuple[int, int]:
    """Delete on one server while another one is in the transaction of a change, and then again what is there.

    Return the statuses of the deletions, of which the first one is ``conditional`` or not.
    """
    path, _, change = DELETIONS[kind]
    async with AsyncExitStack() as stack:
        one, other = [await stack.enter_async_context(open_hub(settings)) for _ in range(2)]
        ann = await stack.enter_async_context(_client(one))
        await _prepare(other, ann)
        etag = (await ann.get(path)).headers["ETag"]
        holding, committing = asyncio.Event(), asyncio.Event()

        async def held(_: Session) -> None:
            holding.set()
            await committing.wait()

        actor = await other.hub.credentials.by_password("ann", PASSWORD)
        changing = asyncio.create_task(change(other.hub, actor, held))
        await holding.wait()
        deleting = asyncio.create_task(ann.delete(path, headers={"If-Match": etag} if conditional else {}))
        # Enough time for a deletion that waits for nothing.
        done, _ = await asyncio.wait({deleting}, timeout=0.5)
        assert not done
        committing.set()
        await asyncio.wait({changing})
        # A change reads its result after the transaction, when the repository can be deleted already.
        assert not isinstance(changing.exception(), DatabaseError)
        first = await deleting
        present = (await ann.get(path)).headers.get("ETag", "")
        second = await ann.delete(path, headers={"If-Match": present})
        return first.status_code, second.status_code


@pytest.mark.parametrize("kind", DELETIONS)
def test_a_deletion_notices_a_change_on_another_server(kind: str, database_url: str, tmp_path: Path) -> None:
    """It begins before the change is committed, waits for it, and then compares."""
    settings = Settings(data=str(tmp_path), database_url=database_url)

    assert asyncio.run(_during_a_change(kind, settings, conditional=True)) == (412, DELETIONS[kind][1])


@pytest.mark.parametrize("kind", DELETIONS)
def test_a_deletion_without_a_condition_follows_the_change(kind: str, database_url: str, tmp_path: Path) -> None:
    """The two wait for one another in one order only, and so both succeed."""
    settings = Settings(data=str(tmp_path), database_url=database_url)

    assert asyncio.run(_during_a_change(kind, settings, conditional=False)) == (DELETIONS[kind][1], 404)
