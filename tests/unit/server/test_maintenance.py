"""A hub that is read-only for maintenance refuses every change on every route, and answers everything else."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from tests.parts.hub import HUB, HytheServer, server_factory
from tests.unit.hub.routes.walked import API, MACHINES

from hythe.database.maintenance import MaintainedDatabase, Maintenance, UnderMaintenance
from hythe.registry.routes.application import OPERATIONS
from hythe.registry.routes.routing import RegistryRoute
from hythe.server.maintenance_gate import ANSWERED, SAFE
from hythe.web.routes.application import PAGES

PASSWORD = "a-long-password"
BANNER = "Read-only for maintenance"
BASIC = {"Authorization": "Basic " + base64.b64encode(f"ann:{PASSWORD}".encode()).decode()}
EMPTY = f"sha256:{'0' * 64}"

REGISTRY_PATHS = {
    RegistryRoute.BASE: "/v2/",
    RegistryRoute.CATALOG: "/v2/_catalog",
    RegistryRoute.TAGS: "/v2/ann/app/tags/list",
    RegistryRoute.REFERRERS: f"/v2/ann/app/referrers/{EMPTY}",
    RegistryRoute.MANIFEST: "/v2/ann/app/manifests/latest",
    RegistryRoute.BLOB: f"/v2/ann/app/blobs/{EMPTY}",
    RegistryRoute.UPLOADS: "/v2/ann/app/blobs/uploads/",
    RegistryRoute.UPLOAD: "/v2/ann/app/blobs/uploads/1234",
}


MAKING = {("GET", "/api/v1/repositories/ann/ann/build-configuration/trigger")}
"""What makes a secret when it is read for the first time."""


def filled(path: str) -> str:
    """Return an address for a pattern of addresses."""
    return re.sub(r"\{(\w+)(:\w+)?\}", lambda found: "1" if found[2] == ":int" else "ann", path)


ROUTES = sorted(
    {
        *((each.method, filled(each.path)) for each in API),
        *((method, filled(path)) for method, path, _ in MACHINES),
        *((method, filled(page.path)) for page in PAGES for method in page.actions),
        *((method, REGISTRY_PATHS[route]) for route, methods in OPERATIONS.items() for method in methods),
    }
)
"""Every route of a hub, with an address."""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HytheServer]:
    """A hub with an account, which is now read-only."""
    with server_factory(tmp_path_factory.mktemp("maintenance"), HUB) as start:
        server = start(["--builds-workers", "0"])
        server.create_user("ann", PASSWORD)
        server.stop()
        server.arguments = (*server.arguments, "--read-only")
        server.start()
        yield server


@pytest.fixture(scope="module")
def client(hub: HytheServer) -> Iterator[httpx2.Client]:
    """A client of it."""
    with httpx2.Client(base_url=hub.url, timeout=60) as connected:
        yield connected


def test_every_change_is_refused(client: httpx2.Client) -> None:
    """With 503 and the time to try again, in the form of the route, whoever asks; the server stays as it is."""
    wrong = []
    for method, path in ROUTES:
        if method in SAFE or path in ANSWERED:
            continue
        response = client.request(method, path)
        form = "html" if "text/html" in response.headers.get("content-type", "") else "json"
        is_page = any(filled(page.path) == path and method in page.actions for page in PAGES)
        if (response.status_code, response.headers.get("retry-after"), form) != (
            *(503, "60"),
            "html" if is_page else "json",
        ):
            wrong.append((method, path, response.status_code, form))
        assert "read-only" in response.text.lower(), (method, path, response.text)

    assert wrong == []


def test_everything_else_is_answered(client: httpx2.Client) -> None:
    """No other request fails because of it; what is refused is refused for other reasons."""
    answers = {(method, path): client.request(method, path).status_code for method, path in ROUTES if method in SAFE}

    assert {route for route, status in answers.items() if status >= 500} == MAKING
    assert BANNER in client.get("/").text
    assert BANNER in client.get("/sign-in").text


def test_registry_clients_can_log_in_and_pull(client: httpx2.Client) -> None:
    """Tokens are signed, not stored; wrong passwords are still counted."""
    login = client.get("/token", params={"service": "x", "account": "ann"}, headers=BASIC)
    form = {"grant_type": "password", "service": "x", "client_id": "docker", "username": "ann", "password": PASSWORD}
    assert (login.status_code, client.post("/token", data=form).status_code) == (200, 200), login.text
    bearer = {"Authorization": f"Bearer {login.json()['token']}"}
    assert client.get("/v2/", headers=bearer).status_code == 200
    assert client.get("/api/v1/users/me", headers=BASIC).status_code == 200

    wrong = [client.get("/token", auth=("ann", "wrong")).status_code for _ in range(12)]
    assert wrong[0] == 401
    assert wrong[-1] == 429


def test_an_error_says_what_to_do(client: httpx2.Client) -> None:
    """Each protocol has its own form."""
    words = "this server is read-only for maintenance, and accepts no changes: try again later"
    refused: Any = client.put("/v2/ann/app/manifests/latest", content=b"{}").json()
    assert refused["errors"][0] == {"code": "UNAVAILABLE", "message": words, "detail": None}
    assert client.post("/api/v1/users", json={}).json()["detail"] == words
    assert client.post("/v2/users/login", json={}).json()["detail"] == words


def test_background_tasks_pause(hub: HytheServer) -> None:
    """They pause, so that the log is not full of their errors."""
    assert "task failed" not in hub.log
    assert "garbage collection failed" not in hub.log


def test_the_database_refuses_what_no_route_does() -> None:
    """Whatever writes fails, until the maintenance ends."""
    maintenance = Maintenance(read_only=True)
    database: Any = MaintainedDatabase(_Writable(), maintenance)  # type: ignore[arg-type]
    with pytest.raises(UnderMaintenance):
        database.writing()
    assert database.reading() == "reading"

    maintenance.apply(read_only=False)

    assert database.writing() == "writing"


class _Writable:
    """A database that does not refuse."""

    def reading(self) -> str:
        return "reading"

    def writing(self, *, durable: bool = True) -> str:
        return "writing" if durable else ""
