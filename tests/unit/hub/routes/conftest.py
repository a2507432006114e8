"""A running hub over HTTP with Ann, Ben and an administrator."""

from collections.abc import Iterator

import httpx2
import pytest
from tests.parts.hub import HUB, HytheServer, server_factory
from tests.unit.hub.routes.kinds import RolesHub
from tests.unit.hub.routes.people import PASSWORD, People
from tests.unit.hub.routes.roles_hub import make_roles_hub


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HytheServer]:
    """One hub for all tests of a file, on each database."""
    url = request.getfixturevalue("new_postgresql_url")() if request.param == "postgresql" else None
    with server_factory(tmp_path_factory.mktemp("api"), HUB) as start:
        started: HytheServer = start(database_url=url)
        started.create_user("curator", PASSWORD, admin=True)
        for name in ("ann", "ben"):
            new = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
            assert httpx2.post(f"{started.url}/api/v1/users", json=new).status_code == 201
        yield started


@pytest.fixture(scope="package", params=["sqlite", "postgresql"])
def roles_hub(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RolesHub]:
    """One hub, on each database, for all tests that send requests as every kind of actor and change nothing."""
    url = request.getfixturevalue("new_postgresql_url")() if request.param == "postgresql" else None
    with server_factory(tmp_path_factory.mktemp("roles"), HUB) as start:
        started: HytheServer = start(database_url=url)
        started.create_user("curator", PASSWORD, admin=True)
        for name in ("ann", "ben"):
            started.create_user(name, PASSWORD)
        made = make_roles_hub(started)
        yield made
        for browser in made.browsers.values():
            browser.close()


@pytest.fixture(scope="module")
def as_(server: HytheServer) -> Iterator[People]:
    """``as_("ann")`` talks to the hub as Ann; ``as_("")`` without credentials."""
    clients: dict[str, httpx2.Client] = {}

    def client(name: str) -> httpx2.Client:
        if name not in clients:
            auth = (name, PASSWORD) if name else None
            clients[name] = httpx2.Client(base_url=server.url, auth=auth, timeout=30, verify=False)
        return clients[name]

    yield client
    for each in clients.values():
        each.close()
