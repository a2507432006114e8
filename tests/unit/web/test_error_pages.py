"""Pages that say why a page cannot be shown."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.parts.database import upgrade_in_thread

from hythe.database import QueryTimeout
from hythe.hub.accounts.users import NewUser
from hythe.hub.actor import HubActor
from hythe.hub.sql import overview
from hythe.server.hub import HubApplication, open_hub
from hythe.settings import Settings
from hythe.web.routes.errors import TOO_SLOW
from hythe.web.routes.site import SESSION_COOKIE

PASSWORD = "correct horse"


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_a_page_that_takes_too_long(
    engine: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The overview of a very large hub is temporarily unavailable, and no internal error."""
    url = request.getfixturevalue("postgresql_url") if engine == "postgresql" else ""
    upgrade_in_thread(tmp_path, url)

    async def too_slow(*_: Any) -> None:
        raise QueryTimeout("the query took longer than its time limit")

    monkeypatch.setattr(overview, "numbers", too_slow)

    async def opened() -> httpx2.Response:
        async with open_hub(Settings(data=str(tmp_path), database_url=url)) as services:
            new = NewUser("root-user", "root@example.com", PASSWORD)
            await services.hub.users.create(HubActor.operator(), new, admin=True)
            actor = await services.hub.credentials.by_password("root-user", PASSWORD)
            started = await services.hub.sessions.start(actor, "127.0.0.1")
            transport = httpx2.ASGITransport(HubApplication(services))
            cookies = {SESSION_COOKIE: started.token}
            async with httpx2.AsyncClient(transport=transport, base_url="http://localhost", cookies=cookies) as client:
                return await client.get("/admin")

    response = asyncio.run(opened())

    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert TOO_SLOW in response.text
