"""Builds, logs, secrets and webhooks of one account are hidden from every other."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builds.forge_hub import ForgeHub, forge_hub
from tests.builds.services import PASSWORD

__all__ = ["forge_hub"]

OF_REPOSITORY = "/api/v1/repositories/{namespace}/{name}/"
PLAIN = (
    ("GET", "/api/v1/repositories/alice/hidden/builds/1/log"),
    ("GET", "/api/v1/repositories/alice/hidden/builds/1/events"),
)
BODIES: dict[str, Any] = {
    "build-configuration/secrets/{secret}": {"value": "stolen"},
    "build-configuration/docker-hub": {
        "provider": "github",
        "owner": "a",
        "repository": "b",
        "build_settings": [{"source_name": "main"}],
    },
    "build-configuration": {"source": {"url": "https://git.example/a/b.git"}},
    "webhooks": {"url": "https://receiver.example/hook"},
}
VALUES = {"namespace": "alice", "number": "1", "secret": "TOKEN", "webhook": "1", "delivery": "1"}


@pytest.fixture(scope="module")
def hidden(forge_hub: ForgeHub) -> ForgeHub:
    """A private repository of alice with everything that belongs to builds, and a user without access to it."""
    forge_hub.services.hub.create_user("mallory", PASSWORD)
    forge_hub.call("POST", "/api/v1/repositories", {"namespace": "alice", "name": "hidden", "visibility": "private"})
    connected = forge_hub.connect("github", "hidden", private=True)
    forge_hub.call("PUT", f"{connected.path}/build-configuration/secrets/TOKEN", {"value": "hunter2"})
    forge_hub.call("POST", f"{connected.path}/webhooks", {"url": "https://receiver.example/hook"})
    forge_hub.call("POST", f"{connected.path}/builds", {})
    return forge_hub


def calls_of(forge_hub: ForgeHub, repository: str) -> list[tuple[str, str, Any]]:
    """Every endpoint about the builds of one repository: method, path and a valid body."""
    described = forge_hub.call("GET", "/api/openapi.json")["paths"]
    found = []
    for path, methods in described.items():
        what = path.removeprefix(OF_REPOSITORY)
        if what == path or not what.startswith(("build", "webhooks")):
            continue
        filled = path.format(**VALUES | {"name": repository})
        found += [(method.upper(), filled, BODIES.get(what, {})) for method in methods]
    return found


@pytest.mark.parametrize("who", ["mallory", ""])
def test_private_builds_do_not_exist_for_others(hidden: ForgeHub, who: str) -> None:
    """For other users and anonymous ones every endpoint responds as for a repository that does not exist."""
    services = hidden.services
    before = services.call("GET", "/api/v1/repositories/alice/hidden/build-configuration")
    trigger_calls = [*calls_of(hidden, "hidden"), *((method, path, None) for method, path in PLAIN)]

    answers = {
        (method, path): services.try_call(method, path, body if method != "GET" else None, user=who)
        for method, path, body in trigger_calls
    }

    assert len(answers) > 25
    creating = {
        "/api/v1/repositories/alice/hidden/build-configuration",
        "/api/v1/repositories/alice/hidden/build-configuration/docker-hub",
    }
    odd = {
        call: status
        for call, (status, _) in answers.items()
        if status != 404 and not (call[0] == "POST" and call[1] in creating and status in (401, 403))
    }
    assert odd == {}
    assert services.call("GET", "/api/v1/repositories/alice/hidden/build-configuration") == before
    assert services.call("GET", "/api/v1/repositories/alice/hidden/build-configuration/secrets")["names"] == ["TOKEN"]
    assert [build["status"] for build in services.call("GET", "/api/v1/repositories/alice/hidden/builds")["items"]] == [
        "queued"
    ]
    assert "hidden" not in str(services.call("GET", "/api/v1/builds?limit=100", user=who))


def test_others_can_read_public_builds_but_not_change_them(hidden: ForgeHub) -> None:
    """Others can read the configuration, builds and logs of a public repository, but no secret names and webhooks."""
    connected = hidden.connect("github", "shown")
    hidden.services.call("POST", f"{connected.path}/webhooks", {"url": "https://receiver.example/hook"})
    hidden.services.call("POST", f"{connected.path}/builds", {})

    answers = {
        (method, path.removeprefix(connected.path)): hidden.services.try_call(
            method, path, body if method != "GET" else None, user="mallory"
        )[0]
        for method, path, body in calls_of(hidden, "shown")
    }

    assert {call for call, status in answers.items() if status < 400} == {
        ("GET", "/build-configuration"),
        ("GET", "/builds"),
        ("GET", "/builds/1"),
    }
    assert set(answers.values()) <= {200, 403, 404}


def test_lists_of_builds_skip_private_ones(hidden: ForgeHub) -> None:
    """Pages of the list over all repositories are full, however many private builds lie between."""
    services = hidden.services
    first = hidden.connect("github", "early")
    services.call("POST", f"{first.path}/builds", {})
    for _ in range(3):
        services.call("POST", "/api/v1/repositories/alice/hidden/builds", {})
    last = hidden.connect("github", "late")
    services.call("POST", f"{last.path}/builds", {})

    found, before = [], 0
    while True:
        page = services.call("GET", f"/api/v1/builds?limit=1&before={before}", user="mallory")
        found += [build["repository"] for build in page["items"]]
        before = page["next"]
        if not before:
            break

    assert found[:2] == ["alice/late", "alice/early"]
    assert "alice/hidden" not in found
