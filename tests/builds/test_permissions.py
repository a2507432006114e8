"""What belongs to one account stays hidden from every other: set-ups, builds, logs, secrets, links, webhooks."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builds.forge_house import ForgeHouse, forged
from tests.builds.services import PASSWORD

__all__ = ["forged"]

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
    "build-notices": {"url": "https://receiver.example/hook"},
}
VALUES = {"namespace": "alice", "number": "1", "secret": "TOKEN", "notice": "1", "delivery": "1"}


@pytest.fixture(scope="module")
def hidden(forged: ForgeHouse) -> ForgeHouse:
    """A private repository of alice with all that a set-up can have, and an account that has nothing to do with it."""
    forged.services.hub.create_user("mallory", PASSWORD)
    forged.services.call(
        "POST", "/api/v1/repositories", {"namespace": "alice", "name": "hidden", "visibility": "private"}
    )
    connected = forged.connect("github", "hidden", private=True)
    forged.services.call("PUT", f"{connected.path}/build-configuration/secrets/TOKEN", {"value": "hunter2"})
    forged.services.call("POST", f"{connected.path}/webhooks", {"url": "https://receiver.example/hook"})
    forged.services.call("POST", f"{connected.path}/builds", {})
    return forged


def calls_of(forged: ForgeHouse, repository: str) -> list[tuple[str, str, Any]]:
    """Every call of the API about one repository's builds: method, path and a body that would be taken."""
    described = forged.services.call("GET", "/api/openapi.json")["paths"]
    found = []
    for path, methods in described.items():
        what = path.removeprefix(OF_REPOSITORY)
        if what == path or not what.startswith("build"):
            continue
        filled = path.format(**VALUES | {"name": repository})
        found += [(method.upper(), filled, BODIES.get(what, {})) for method in methods]
    return found


@pytest.mark.parametrize("who", ["mallory", ""])
def test_private_builds_do_not_exist_for_others(hidden: ForgeHouse, who: str) -> None:
    """Whatever another account, or nobody, asks of them is answered as of what is not there; and nothing changes."""
    services = hidden.services
    before = services.call("GET", "/api/v1/repositories/alice/hidden/build-configuration")
    trigger_calls = [*calls_of(hidden, "hidden"), *((method, path, None) for method, path in PLAIN)]

    answers = {
        (method, path): services.try_call(method, path, body if method != "GET" else None, user=who)
        for method, path, body in trigger_calls
    }

    assert len(answers) > 20
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


def test_public_builds_are_read_by_all_and_changed_by_the_owner(hidden: ForgeHouse) -> None:
    """Of a public repository others see the set-up, builds and logs; no secret's name, no webhook; nothing changes."""
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


def test_pages_of_builds_skip_what_others_hide(hidden: ForgeHouse) -> None:
    """The list over all repositories is as full, and goes on as far, however much in between is private."""
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
