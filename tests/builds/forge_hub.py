"""A hub without workers and one fake forge of each kind, and helpers that connect a repository in one line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.builds.services import Services
from tests.parts.forges import KINDS, running_forge
from tests.parts.forges.fake_forge import FakeForge, Project

NO_WORKER = {"HYTHE_BUILDS_WORKERS": "0"}


@dataclass(slots=True)
class Connected:
    """A repository with Trusted Builds of a project at a forge; `path` is the repository's path in the hub's API."""

    forge: FakeForge
    project: Project
    path: str
    account: dict[str, Any]
    """The linked account."""
    webhook: dict[str, Any]
    """The hub's response to installing the webhook."""

    @property
    def installed(self) -> dict[str, Any]:
        """The webhook at the forge."""
        [webhook] = self.project.webhooks.values()
        return webhook


@dataclass(slots=True)
class ForgeHub:
    """The hub, the git server and the forges."""

    services: Services
    forges: dict[str, FakeForge] = field(default_factory=dict)

    def call(self, *arguments: Any, **options: Any) -> Any:
        """Call the hub's API; see Services.call."""
        return self.services.call(*arguments, **options)

    def try_call(self, *arguments: Any, **options: Any) -> tuple[int, Any]:
        """Call the hub's API; see Services.try_call."""
        return self.services.try_call(*arguments, **options)

    def link(self, kind: str, *scopes: str) -> dict[str, Any]:
        """Link an account with an access token."""
        forge = self.forges[kind]
        body = {"url": forge.url, "token": forge.token(*scopes)}
        return dict(self.call("POST", "/api/v1/linked-accounts", body))

    def connect(
        self, kind: str, name: str, *, private: bool = False, admin: bool = True, scopes: tuple[str, ...] = ()
    ) -> Connected:
        """Link an account, configure builds of alice/NAME from a new project, and install the webhook."""
        forge = self.forges[kind]
        git = self.services.git.create(f"src/{name}")
        git.commit({"Dockerfile": "FROM scratch\n"}, "First")
        project = forge.add(git, private=private, admin=admin)
        account = self.link(kind, *scopes)
        path = f"/api/v1/repositories/alice/{name}"
        source = {"url": git.url, "forge": kind, "forge_repository": project.name, "linked_account_id": account["id"]}
        rules = [{"source": "main"}, {"source_type": "tag", "source": "/^v(.*)$/", "tags": r"{\1}"}]
        self.call("POST", f"{path}/build-configuration", {"source": source, "rules": rules})
        return Connected(forge, project, path, account, self.install_webhook(path))

    def install_webhook(self, path: str) -> dict[str, Any]:
        """Install a repository's webhook; return the hub's response."""
        body = {"hub_url": self.services.hub.url}
        return dict(self.call("POST", f"{path}/build-configuration/forge-webhook", body))

    def deliveries(self, connected: Connected) -> list[dict[str, Any]]:
        """Return the deliveries that the hub lists, newest first."""
        path = f"{connected.path}/build-configuration/forge-webhook/deliveries"
        return list(self.call("GET", path)["items"])

    def builds(self, connected: Connected) -> list[tuple[str, str, str]]:
        """Return the branch or tag, the commit and the status of every build, newest first."""
        builds = self.call("GET", f"{connected.path}/builds")["items"]
        return [(build["ref"]["name"], build["ref"]["commit"], build["status"]) for build in builds]


def eventually(condition: Callable[[], object], *, seconds: float = 15) -> None:
    """Wait until a condition is true; fail after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(scope="module")
def forge_hub(start_services: Callable[..., Services]) -> Iterator[ForgeHub]:
    """One hub for all tests of a file."""
    with ExitStack() as stack:
        forges = {kind: stack.enter_context(running_forge(kind)) for kind in KINDS}
        setting = " ".join(forge.setting for forge in forges.values())
        yield ForgeHub(start_services({**NO_WORKER, "HYTHE_FORGES": setting}), forges)
        assert [forge.violations for forge in forges.values()] == [[]] * len(KINDS)
