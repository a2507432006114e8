"""Pages that say why a page cannot be shown."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import httpx2
import pytest

from hythe.database import QueryTimeout, Session
from hythe.hub.accounts.users import NewUser
from hythe.hub.actor import HubActor
from hythe.hub.sql import overview, storage
from hythe.hub.sql.overview import AccountNumbers
from hythe.server.hub import HubApplication, open_hub
from hythe.settings import Settings
from hythe.web.routes.errors import TOO_SLOW
from hythe.web.routes.site import SESSION_COOKIE

PASSWORD = "correct horse"


def test_a_page_that_takes_too_long(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The storage of a very large hub is temporarily unavailable, and no internal error."""

    async def too_slow(*_: Any) -> None:
        raise QueryTimeout("the query took longer than its time limit")

    monkeypatch.setattr(storage, "report", too_slow)

    (response,) = _seen_by_administrator(database_url, tmp_path, "/admin/storage")

    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert TOO_SLOW in response.text


def test_an_overview_without_what_takes_too_long(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The overview of a very large hub says which numbers are not known, and shows the others."""
    counted = overview.accounts

    async def too_slow(session: Session) -> AccountNumbers:
        await counted(session)
        raise QueryTimeout("the query took longer than its time limit")

    monkeypatch.setattr(overview, "accounts", too_slow)

    shown, reply = _seen_by_administrator(database_url, tmp_path, "/admin", "/api/v1/admin/overview")

    assert shown.status_code == 200
    assert re.findall(r"Not known in time</span>\s*<a [^>]*>([^<]*)</a>", shown.text) == ["Users", "Organizations"]
    numbers = reply.json()
    assert {name for name, value in numbers.items() if value is None} == {"users", "organizations", "blocked"}
    assert numbers["repositories"] == 0


def _seen_by_administrator(database_url: str, tmp_path: Path, *paths: str) -> list[httpx2.Response]:
    """Return what an administrator gets at the paths of a hub without repositories."""

    async def opened() -> list[httpx2.Response]:
        async with open_hub(Settings(data=str(tmp_path), database_url=database_url)) as services:
            new = NewUser("root-user", "root@example.com", PASSWORD)
            await services.hub.users.create(HubActor.operator(), new, admin=True)
            actor = await services.hub.credentials.by_password("root-user", PASSWORD)
            started = await services.hub.sessions.start(actor, "127.0.0.1")
            transport = httpx2.ASGITransport(HubApplication(services))
            cookies = {SESSION_COOKIE: started.token}
            async with httpx2.AsyncClient(transport=transport, base_url="http://localhost", cookies=cookies) as client:
                return [await client.get(path, auth=("root-user", PASSWORD)) for path in paths]

    return asyncio.run(opened())
