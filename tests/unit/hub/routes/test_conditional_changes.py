"""Changes with If-Match while few connections of the database are free."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx2
import pytest
from tests.parts.database import upgrade_in_thread
from tests.unit.hub.routes.people import PASSWORD

from hythe.database import postgresql
from hythe.hub.accounts.users import NewUser
from hythe.hub.actor import HubActor
from hythe.server.hub import HubApplication, open_hub
from hythe.settings import Settings

CHANGES: tuple[tuple[str, str, dict[str, str] | None], ...] = (
    ("PATCH", "organizations/acme", {"member_role": "write"}),
    ("PATCH", "organizations/acme/teams/web", {"description": "makes pages"}),
    ("DELETE", "organizations/acme/teams/web", None),
    ("PATCH", "repositories/acme/app", {"description": "a page"}),
)


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_a_change_needs_one_connection(
    engine: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that waited for a second one would hold its locks until those that wait for them give up."""
    url = request.getfixturevalue("postgresql_url") if engine == "postgresql" else ""
    upgrade_in_thread(tmp_path, url)
    monkeypatch.setattr(postgresql, "POOL_SIZE", 1)  # and one for a burst

    async def statuses() -> list[tuple[int, int]]:
        async with open_hub(Settings(data=str(tmp_path), database_url=url)) as services:
            await services.hub.users.create(HubActor.operator(), NewUser("ann", "ann@example.com", PASSWORD))
            transport = httpx2.ASGITransport(HubApplication(services))
            async with httpx2.AsyncClient(
                transport=transport, base_url="http://localhost/api/v1/", auth=("ann", PASSWORD)
            ) as ann:
                await ann.post("organizations", json={"name": "acme"})
                await ann.post("organizations/acme/teams", json={"name": "web"})
                await ann.post("repositories", json={"namespace": "acme", "name": "app"})
                async with services.database.reading():
                    return [await changed(ann, *change) for change in CHANGES]

    async def changed(ann: httpx2.AsyncClient, method: str, path: str, body: dict[str, str] | None) -> tuple[int, int]:
        """Return the statuses of a change of another state, and of the present one."""
        etag = (await ann.get(path)).headers["ETag"]
        conditions = ('"another"', etag)
        stale, fresh = [await ann.request(method, path, json=body, headers={"If-Match": each}) for each in conditions]
        return stale.status_code, fresh.status_code

    assert asyncio.run(statuses()) == [(412, 200), (412, 200), (412, 204), (412, 200)]
