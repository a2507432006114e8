"""Invalid values in the JSON API, Docker Hub's API, the original index and the token server."""

from __future__ import annotations

import itertools
from urllib.parse import urlencode

import httpx2
from tests.faults.bad_values import (
    PASSWORD,
    RAW,
    Tried,
    filled,
    invalid_variants,
    is_anything,
    is_docker_hub_failure,
    is_problem,
    is_token_failure,
    paths,
    queries,
    sent,
    tried,
    whole,
)
from tests.faults.request_bodies import BODIES

from hythe.hub.routes import application as hub_routes
from hythe.hub.routes import docker_hub

__all__ = ["tried", "whole"]


def test_json_api(tried: Tried) -> None:
    """Every operation in the OpenAPI description: its path, parameters and body."""
    description = tried.client.get("/api/openapi.json").json()
    described, schemas = description["paths"], description["components"]["schemas"]
    for path, method in [(path, method) for path, methods in described.items() for method in methods]:
        operation = described[path][method]
        parameters = [each["name"] for each in operation["parameters"] if each["in"] == "query"]
        body = None
        if "requestBody" in operation:
            body = BODIES[method.upper(), path.removeprefix("/api/v1")]
            schema = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            assert body.keys() == schemas[schema]["properties"].keys(), f"{method} {path} has other fields"
        for bad in paths(path):
            tried.send(method.upper(), bad, is_problem, **(sent(body) if body is not None else {}))
        for query in queries(parameters):
            tried.send(method.upper(), f"{filled(path)}?{query}", is_problem)
        for bad in invalid_variants(body) if body is not None else ():
            tried.send(method.upper(), filled(path), is_problem, **sent(bad))


def test_docker_hubs_api(tried: Tried) -> None:
    """The endpoints of Docker Hub's API, such as ``/v2/users/``."""
    for endpoint in docker_hub.ENDPOINTS:
        for bad in paths(endpoint.path):
            tried.send(endpoint.method, bad, is_docker_hub_failure)
        for query in queries(endpoint.query.__struct_fields__):
            tried.send(endpoint.method, f"{filled(endpoint.path)}?{query}", is_docker_hub_failure)
        for bad in invalid_variants(dict.fromkeys(endpoint.body.__struct_fields__, "zed")):
            tried.send(endpoint.method, endpoint.path, is_docker_hub_failure, **sent(bad))


def test_original_index(tried: Tried) -> None:
    """``/v1/``: docker prints the body, so errors are sentences."""
    own = {path for _, path, *_ in hub_routes.PLAIN if not path.startswith("/api/v1/tag-log/")}
    assert own == {"/token", "/v1/_ping", "/v1/users/", "/v1/search"}
    for query in queries(["q", "n", "page"]):
        tried.send("GET", f"/v1/search?{query}", is_anything)
    for bad in invalid_variants({"username": "zed", "email": "zed@example.com", "password": PASSWORD}):
        tried.send("POST", "/v1/users/", is_anything, **sent(bad))
    for name, password in itertools.product(("ann", "\0", "a\0b", "x" * 4000), ("\0", "hythe_\0", "x" * 4000)):
        tried.send("GET", "/v1/users/", is_anything, headers={"Authorization": _basic(name, password)})


def test_token_server(tried: Tried) -> None:
    """``/token`` with query and form, anonymous and signed in."""
    names = ("service", "scope", "client_id", "offline_token", "account")
    ours = {"scope": "repository:ann/app:pull", "offline_token": "true", "client_id": "docker", "service": "here"}
    headers = {"Authorization": _basic("ann", tried.token)}
    for query in (*queries(names), *(f"scope=repository:{bad}:pull" for bad in RAW)):
        tried.send("GET", f"/token?{query}", is_token_failure, headers={"Authorization": ""})
        name = query.partition("=")[0]
        rest = urlencode({key: value for key, value in ours.items() if key != name})
        tried.send("GET", f"/token?{query}&{rest}", is_token_failure, headers=headers)
    form = {"service": "here", "client_id": "docker", "access_type": "offline", "scope": ours["scope"]}
    password = {"grant_type": "password", "username": "ann", "password": tried.token, **form}
    renewal = {"grant_type": "refresh_token", "refresh_token": "x", **form}
    for good, name in [(password, name) for name in password] + [(renewal, name) for name in renewal]:
        # Too many wrong passwords of Ann's would lock her out of the other tests.
        others = good | ({"username": "zed"} if name == "password" else {})
        rest = urlencode({key: value for key, value in others.items() if key != name})
        for bad in RAW:
            request = {"content": f"{name}={bad}&{rest}", "headers": {"Authorization": ""}}
            tried.send("POST", "/token", is_token_failure, **request)


def _basic(name: str, password: str) -> str:
    return httpx2.BasicAuth(name, password)._auth_header
