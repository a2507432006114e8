"""kill -9 while an organization with many repositories is renamed: all of it has the old name, or the new one."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable

import httpx2
from sqlalchemy import func, insert, literal, select, update
from tests.parts.hub import HytheServer

from hythe.database import open_database
from hythe.database.tables.hub import hub_repositories, namespaces, users
from hythe.database.tables.registry import namespace_usage, repositories

PASSWORD = "correct horse battery"
REPOSITORIES = 10_000
LONGEST = 0.9
"""Seconds until the kill; a rename takes less."""

ROUNDS = (3, 60)


class Installation:
    """The database of a hub, read and filled beside its server."""

    def __init__(self, server: HytheServer) -> None:
        self._server = server

    def fill(self, organization: str) -> None:
        """Create many repositories like the one that the organization has, in one step."""

        async def work() -> None:
            async with contextlib.AsyncExitStack() as stack:
                database = await open_database(self._server.data, self._server.database_url or "")
                stack.push_async_callback(database.close)
                async with database.writing() as session:
                    (only,) = await session.rows(select(repositories).where(repositories.c.name == f"{organization}/0"))
                    (hub,) = await session.rows(
                        select(hub_repositories).where(hub_repositories.c.repository_id == only.id)
                    )
                    numbers = range(1, REPOSITORIES)
                    rows = [only._asdict() | {"id": only.id + n, "name": f"{organization}/{n}"} for n in numbers]
                    await session.run(insert(repositories), rows)
                    listed = [hub._asdict() | {"repository_id": only.id + n, "name": f"{n}"} for n in numbers]
                    await session.run(insert(hub_repositories), listed)

        asyncio.run(work())

    def names(self) -> dict[str, Counter[str]]:
        """Return how often each name of the organization is in each table; allow it another rename."""

        async def work() -> dict[str, Counter[str]]:
            async with contextlib.AsyncExitStack() as stack:
                database = await open_database(self._server.data, self._server.database_url or "")
                stack.push_async_callback(database.close)
                async with database.writing() as session:
                    await session.run(update(namespaces).values(renames=0))
                    found = await session.rows(select(repositories.c.name))
                    counted = {"repositories": Counter(row.name.partition("/")[0] for row in found)}
                    for name, column in (
                        ("users", users.c.name),
                        ("namespaces", namespaces.c.name),
                        ("usage", namespace_usage.c.namespace),
                    ):
                        rows = await session.rows(select(column).where(func.substr(column, 1, 5) == literal("acme-")))
                        counted[name] = Counter(row[0] for row in rows)
                    return counted

        return asyncio.run(work())


def test_a_rename_is_whole(hub_on_each_database: HytheServer, rounds: Callable[[int, int], int]) -> None:
    """After each restart every table has one name, which the API agrees with, and the rename can be repeated."""
    server = hub_on_each_database
    installation = Installation(server)
    server.create_user("ann", PASSWORD)
    with httpx2.Client(auth=("ann", PASSWORD), timeout=60) as ann:
        assert ann.post(f"{server.url}/api/v1/organizations", json={"name": "acme-0"}).status_code == 201
        new = {"namespace": "acme-0", "name": "0"}
        assert ann.post(f"{server.url}/api/v1/repositories", json=new).status_code == 201
    server.stop()
    installation.fill("acme-0")
    server.start()

    present = "acme-0"
    for number in range(1, rounds(*ROUNDS) + 1):
        wanted = f"acme-{number}"

        def rename(former: str = present, name: str = wanted) -> None:
            with contextlib.suppress(httpx2.HTTPError):
                path = f"/api/v1/namespaces/{former}/rename"
                httpx2.post(f"{server.url}{path}", auth=("ann", PASSWORD), json={"name": name}, timeout=60)

        thread = threading.Thread(target=rename)
        thread.start()
        time.sleep(random.uniform(0.02, LONGEST))
        server.kill()
        thread.join()
        server.start()

        statuses = {
            name: httpx2.get(f"{server.url}/api/v1/organizations/{name}", auth=("ann", PASSWORD)).status_code
            for name in (present, wanted)
        }
        renamed = statuses[wanted] == 200
        assert statuses == ({present: 308, wanted: 200} if renamed else {present: 200, wanted: 404})
        present = wanted if renamed else present
        counted = installation.names()
        assert counted.pop("repositories") == {present: REPOSITORIES}
        assert set(map(tuple, counted.values())) <= {(present,), ()}
