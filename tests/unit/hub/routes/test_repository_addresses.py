"""Every repository has an address of its own, whatever words are in its name, and so has everything below it."""

from __future__ import annotations

import itertools
import re
from typing import Any
from unittest.mock import Mock
from urllib.parse import quote, unquote

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from tests.parts.hub import HytheServer
from tests.unit.hub.routes.people import People

from hythe.builds.routes import application as builds
from hythe.builds.routes import builds as build_routes
from hythe.builds.routes import configurations
from hythe.builds.routes.forge_webhooks import ForgeWebhookEndpoints
from hythe.hub.routes import docker_hub
from hythe.hub.routes.application import ENDPOINTS
from hythe.hub.routes.endpoint import Endpoint, routes_of
from hythe.hub.routes.repository_addresses import kept_slashes
from hythe.hub.routes.request_rates import RequestRates
from hythe.notifications.routes import webhooks
from hythe.oci.reference import is_name
from hythe.registry.routes.routing import RegistryRoute, parse_target

NOTHING: Any = Mock()
"""Instead of the services: these tests only match paths."""


async def _no_answer(_request: Request) -> Response:
    return Response()


def _api() -> list[Route]:
    """The routes of the JSON API, in the order in which the hub matches them."""
    table: tuple[Endpoint, ...] = (
        *ForgeWebhookEndpoints(NOTHING).table(),
        *webhooks.endpoints(NOTHING),
        *configurations.endpoints(NOTHING),
        *build_routes.endpoints(NOTHING),
        *ENDPOINTS,
    )
    plain = [Route(path, _no_answer, methods=[method]) for method, path, *_ in builds.PLAIN if path.startswith("/api")]
    return [*plain, *routes_of(table, NOTHING, RequestRates(0))]


APIS = {"own": _api(), "docker-hub": routes_of(docker_hub.ENDPOINTS, NOTHING, RequestRates(0))}
VALUES = {"7", "latest", "history", "list"}


def _words(below: str) -> list[str]:
    """The words in paths with `below`, and VALUES."""
    paths = [route.path for routes in APIS.values() for route in routes if below in route.path]
    words = {word for path in paths for word in re.findall(r"/([a-z-]+)(?=/|$)", path)}
    return sorted(words - {"api", "repositories"} | VALUES)


WORDS = _words("/")
NAMES = [
    *("app", "team/app", *WORDS, *(f"app/{word}" for word in WORDS)),
    # Other words are in no address that begins like that of a repository.
    *(f"app/{first}/{second}" for first, second in itertools.product(_words("{name:path}"), repeat=2)),
    *("tags/tags/tags", "app/tags/latest/history", "app/builds/7/log", "app/webhooks/deliveries/7/redeliver"),
]
"""Names of repositories that look like addresses of other things."""


def _filled(path: str, parameters: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: quote(parameters[found[1]], safe=""), path)


def _resolved(routes: list[Route], address: str) -> tuple[str, dict[str, Any]]:
    """Return the path and the parameters of the route that handles an address."""
    raw = address.encode()
    path = kept_slashes(raw) if b"%2F" in raw else unquote(address)
    for route in routes:
        match, scope = route.matches({"type": "http", "path": path, "method": "GET", "root_path": ""})
        if match is not Match.NONE:
            parameters = {name: str(value).replace("%2F", "/") for name, value in scope["path_params"].items()}
            return route.path, parameters
    raise LookupError(address)


@pytest.mark.parametrize("api", APIS)
def test_no_two_resources_share_an_address(api: str) -> None:
    """An address with an encoded name is always that of this name, for every route; nothing else has it."""
    for route in APIS[api]:
        if "{name:path}" not in route.path:
            continue
        for name in NAMES:
            given = {"namespace": "ann", "name": name}
            for parameter in re.findall(r"\{(\w+)(?::int)?\}", route.path):
                given.setdefault(parameter, "7" if ":int" in route.path else "tags")
            address = _filled(route.path, given)

            path, parameters = _resolved(APIS[api], address)

            assert (path.replace(":int", ""), parameters) == (route.path.replace(":int", ""), given), address
            whole = address.replace("/ann/", "/ann%2F", 1)
            assert _resolved(APIS[api], whole) == (path, parameters)


@pytest.mark.parametrize("api", APIS)
def test_plain_slashes(api: str) -> None:
    """Names without such words need no encoding; of several possible names, the shortest one counts."""
    root = "/api/v1/repositories" if api == "own" else "/v2/repositories"
    for address, name, below in (
        ("ann/team/app", "team/app", ""),
        ("ann/team/app/tags", "team/app", "/tags"),
        ("ann/a/b/c/tags/tags", "a/b/c", "/tags/{tag}"),
        ("ann/amb/tags", "amb", "/tags"),
        ("ann/amb/tags/tags", "amb", "/tags/{tag}"),
        ("ann/tags", "tags", ""),
        ("ann/tags/tags", "tags", "/tags"),
    ):
        path, parameters = _resolved(APIS[api], f"{root}/{address}")
        assert (path, parameters["name"]) == (f"{root}/{{namespace}}/{{name:path}}{below}", name)


def test_paths_of_the_registry_protocol() -> None:
    """There, the last words decide, so every repository has its own paths."""
    digest = "sha256:" + 64 * "0"
    for name in (*NAMES, "blobs", "blobs/uploads", "app/manifests/latest", "app/tags/list", "app/blobs/uploads/7"):
        repository = f"ann/{name}"
        assert is_name(repository)
        for path, route in (
            ("tags/list", RegistryRoute.TAGS),
            ("manifests/list", RegistryRoute.MANIFEST),
            (f"blobs/{digest}", RegistryRoute.BLOB),
            ("blobs/uploads/", RegistryRoute.UPLOADS),
            ("blobs/uploads/7", RegistryRoute.UPLOAD),
            (f"referrers/{digest}", RegistryRoute.REFERRERS),
        ):
            target = parse_target(f"/v2/{repository}/{path}")
            assert target is not None
            assert (target.name, target.endpoint) == (repository, route)


def test_hostile_names_on_a_hub(server: HytheServer, as_: People) -> None:
    """A repository ann/amb/tags is created, read, changed and deleted beside the tags of ann/amb."""
    ann = as_("ann")
    for name in ("amb", "amb/tags", "amb/builds", "amb/team/app"):
        new = {"namespace": "ann", "name": name, "description": name}
        assert ann.post("/api/v1/repositories", json=new).status_code == 201

    assert ann.get("/api/v1/repositories/ann/amb/tags").json()["items"] == []
    assert ann.get("/v2/repositories/ann/amb/tags/").json()["results"] == []
    for root in ("/api/v1/repositories", "/v2/repositories"):
        for address in ("ann/amb%2Ftags", "ann/amb%2ftags", "ann%2Famb%2Ftags"):
            assert ann.get(f"{root}/{address}").json()["name"] == "amb/tags"
        assert ann.get(f"{root}/ann/amb%2Fbuilds").json()["description"] == "amb/builds"
        assert ann.get(f"{root}/ann/amb/team/app").json()["name"] == "amb/team/app"
    changed = ann.patch("/api/v1/repositories/ann/amb%2Ftags", json={"description": "changed"})
    assert (changed.status_code, changed.json()["description"]) == (200, "changed")
    assert "changed" in ann.get("/ann/amb/tags").text
    assert ann.delete("/v2/repositories/ann/amb%2Ftags/").status_code == 202
    assert ann.get("/api/v1/repositories/ann/amb%2Ftags").status_code == 404
    assert ann.get("/api/v1/repositories/ann/amb").json()["description"] == "amb"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/repositories/ann/ghost/", 404),
        ("GET", "/v2/repositories/ann/gh/o/st", 404),
        ("GET", "/v2/repositories/ann/UPPER/tags/", 404),
        ("GET", "/v2/repositories/ghost/", 404),
        ("GET", "/v2/repositories/", 404),
        ("GET", "/v2/users/ann/orgs/", 404),
        ("PUT", "/v2/repositories/ann/ghost/", 405),
        ("GET", "/v2/auth/token", 405),
        ("GET", "/v2/repositories/ann/?page=0", 422),
        ("DELETE", "/v2/repositories/ann/ghost/tags/latest/", 404),
    ],
)
def test_errors_of_docker_hubs_api(as_: People, method: str, path: str, status: int) -> None:
    """Errors below its addresses have the form of Docker Hub's, also where there is nothing."""
    reply = as_("").request(method, path)

    assert reply.status_code == status
    assert reply.headers["content-type"] == "application/json"
    assert reply.json()["message"] == reply.json()["detail"] != ""


def test_top_level_names_of_docker_hubs_api(as_: People) -> None:
    """No new top-level repository is called as Docker Hub's API, because its short name could not be pulled."""
    for name in ("users", "auth", "repositories", "search"):
        refused = as_("curator").post("/api/v1/repositories", json={"namespace": "library", "name": name})
        assert refused.status_code == 403
    allowed = as_("curator").post("/api/v1/repositories", json={"namespace": "library", "name": "search/engine"})
    assert allowed.status_code == 201
