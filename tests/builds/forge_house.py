"""A hub without workers that knows one stand-in of each forge, and what is set up there in a line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.builds.services import Services
from tests.parts.forges import KINDS, running_forge
from tests.parts.forges.forge import Forge, Project

NO_WORKER = {"HYTHE_BUILDS_WORKERS": "0"}


@dataclass(slots=True)
class Connected:
    """A repository of a forge that is set up: where it is there, and its path in the API here."""

    forge: Forge
    project: Project
    path: str
    link: dict[str, Any]
    hook: dict[str, Any]

    @property
    def there(self) -> dict[str, Any]:
        """The webhook as the forge keeps it."""
        [hook] = self.project.hooks.values()
        return hook


@dataclass(slots=True)
class ForgeHouse:
    """The hub, the git server and the forges."""

    services: Services
    forges: dict[str, Forge] = field(default_factory=dict)

    def link(self, kind: str, *scopes: str) -> dict[str, Any]:
        """Link an account by a token."""
        forge = self.forges[kind]
        body = {"url": forge.url, "token": forge.token(*scopes)}
        return dict(self.services.call("POST", "/api/v1/linked-accounts", body))

    def connect(
        self, kind: str, name: str, *, private: bool = False, admin: bool = True, scopes: tuple[str, ...] = ()
    ) -> Connected:
        """Link, set up alice/NAME from a new repository there, and install the webhook."""
        forge = self.forges[kind]
        git = self.services.git.create(f"src/{name}")
        git.commit({"Dockerfile": "FROM scratch\n"}, "First")
        project = forge.add(git, private=private, admin=admin)
        link = self.link(kind, *scopes)
        path = f"/api/v1/repositories/alice/{name}"
        source = {"url": git.url, "forge": kind, "forge_repository": project.name, "linked_account_id": link["id"]}
        rules = [{"source": "main"}, {"source_type": "tag", "source": "/^v(.*)$/", "tags": r"{\1}"}]
        self.services.call("POST", f"{path}/build-configuration", {"source": source, "rules": rules})
        hook = self.services.call(
            "POST", f"{path}/build-configuration/forge-webhook", {"hub_url": self.services.hub.url}
        )
        return Connected(forge, project, path, link, hook)

    def deliveries(self, connected: Connected) -> list[dict[str, Any]]:
        """What came by the webhook, the newest first."""
        path = f"{connected.path}/build-configuration/forge-webhook/deliveries"
        return list(self.services.call("GET", path)["items"])

    def builds(self, connected: Connected) -> list[tuple[str, str, str]]:
        """Branch or tag, commit and status of every build, the newest first."""
        found = self.services.call("GET", f"{connected.path}/builds")["items"]
        return [(build["ref"]["name"], build["ref"]["commit"], build["status"]) for build in found]


def eventually(true: Callable[[], object], *, seconds: float = 15) -> None:
    """Wait until something is true; fails when it never is."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(scope="module")
def forged(start_services: Callable[..., Services]) -> Iterator[ForgeHouse]:
    """One for all tests of a file."""
    with ExitStack() as stack:
        forges = {kind: stack.enter_context(running_forge(kind)) for kind in KINDS}
        setting = " ".join(forge.setting for forge in forges.values())
        yield ForgeHouse(start_services({**NO_WORKER, "HYTHE_FORGES": setting}), forges)
        assert [forge.violations for forge in forges.values()] == [[], [], [], []]
