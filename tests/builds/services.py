"""A hub with Trusted Builds, a git server, and the API as a user calls it."""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.parts.base_images import busybox_rootfs
from tests.parts.git_server import GitRepository, GitServer, running_git_server
from tests.parts.hub import HUB, HytheServer, server_factory
from tests.parts.process import clear_away

USER, PASSWORD = "alice", "correct horse battery"
TIMEOUT = 90.0
"""Seconds after which a build hangs: on a loaded machine, one can take thirty."""
DOCKERFILE = """\
FROM scratch
ADD rootfs.tar /
ARG GREETING=hello
RUN echo "$GREETING from a step" > /greeting && id > /who
CMD ["cat", "/greeting"]
"""
FAST = {
    "HYTHE_BUILDS_DISK": str(400 << 20),
    "HYTHE_BUILDS_FILES": "20000",
    "HYTHE_BUILDS_NETWORK": "off",
    "HYTHE_INTERNAL_NETWORKS": "127.0.0.0/8",
}


@dataclass(slots=True)
class Services:
    """The hub as `alice`, and a git server."""

    hub: HytheServer
    git: GitServer
    sources: dict[str, GitRepository] = field(default_factory=dict)

    def call(self, method: str, path: str, body: object = None, *, user: str = USER) -> Any:
        """Call the JSON API; returns the response's value, fails on an error."""
        status, answer = self.try_call(method, path, body, user=user)
        assert status < 400, f"{method} {path}: {status} {answer}"
        return answer

    def try_call(self, method: str, path: str, body: object = None, *, user: str = USER) -> tuple[int, Any]:
        """Call the JSON API; returns status and value."""
        headers = {"Content-Type": "application/json"}
        if user:
            pair = base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()
            headers["Authorization"] = f"Basic {pair}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.hub.url}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, _value(response.read())
        except urllib.error.HTTPError as error:
            return error.code, _value(error.read())

    def source(self, name: str, files: dict[str, str | bytes] | None = None, **how: Any) -> GitRepository:
        """Create a source repository with a Dockerfile on busybox and `files`, pushed to its branch main."""
        repository = self.git.create(f"src/{name}", **how)
        (repository.work / "rootfs.tar").write_bytes(busybox_rootfs(is_lingering=True))
        texts = {"Dockerfile": DOCKERFILE}
        for path, content in (files or {}).items():
            if isinstance(content, bytes):
                target = repository.work / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
            else:
                texts[path] = content
        repository.commit(texts, "First")
        self.sources[name] = repository
        return repository

    def configure(self, name: str, source: GitRepository, *rules: dict[str, Any], **more: Any) -> str:
        """Configure Trusted Builds of alice/NAME; returns the path of its API."""
        path = f"/api/v1/repositories/{USER}/{name}"
        body = {"source": {"url": source.url}, **more} | ({"rules": list(rules)} if rules else {})
        self.call("POST", f"{path}/build-configuration", body)
        return path

    def trigger(self, path: str, body: object = None) -> list[int]:
        """Call the trigger URL; returns the numbers of the builds."""
        where = self.call("GET", f"{path}/build-configuration/trigger")["path"]
        numbers: list[int] = self.call("POST", where, body or {}, user="")["builds"]
        return numbers

    def wait(self, path: str, number: int, *, seconds: float = TIMEOUT) -> dict[str, Any]:
        """Wait until a build has finished; returns it, with its log as `log`."""
        end = time.monotonic() + seconds
        while True:
            build: dict[str, Any] = self.call("GET", f"{path}/builds/{number}")
            if build["status"] not in ("queued", "running") or time.monotonic() > end:
                build["log"] = self.log(path, number)
                return build
            time.sleep(0.1)

    def wait_for(self, path: str, number: int, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until `condition` is true for a build."""
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            build: dict[str, Any] = self.call("GET", f"{path}/builds/{number}")
            if condition(build):
                return build
            time.sleep(0.05)
        raise AssertionError(f"build {number} is {build}\n{self.log(path, number)}")

    def wait_until_log(self, path: str, number: int, text: str) -> None:
        """Wait until the log of a running build contains `text`."""
        end = time.monotonic() + TIMEOUT
        while text not in self.log(path, number):
            assert time.monotonic() < end, self.log(path, number)
            time.sleep(0.1)

    def git_repository(self, name: str) -> GitRepository:
        """The source repository that `source` made."""
        return self.sources[name]

    def log(self, path: str, number: int) -> str:
        """The log of a build so far."""
        return str(self.call("GET", f"{path}/builds/{number}/log"))

    def built(self, path: str, number: int) -> dict[str, Any]:
        """Wait until a build has finished, and fail with its log unless it succeeded."""
        build = self.wait(path, number)
        assert build["status"] == "succeeded", f"{build['reason']}\n{build['log']}\n{self.hub.log[-3000:]}"
        return build


def _value(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content.decode(errors="replace")


@contextmanager
def services_factory(folder: Path) -> Iterator[Callable[..., Services]]:
    """Factory: `start(env={..}, database_url=..)` starts a hub with small limits; they share one git server."""
    with server_factory(folder, HUB) as start_hub, running_git_server(folder / "git") as git:
        servers: list[HytheServer] = []

        def start(env: dict[str, str] | None = None, **how: Any) -> Services:
            hub = start_hub(env={**FAST, **(env or {})}, **how)
            servers.append(hub)
            hub.create_user(USER, PASSWORD)
            return Services(hub, git)

        try:
            yield start
        finally:
            # A worker that is killed with its hub leaves disks mounted; only its next start would remove them.
            for server in servers:
                server.stop()
                clear_away(server.data)


@pytest.fixture(scope="module")
def start_services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Services]]:
    """Factory of hubs that run until the module's last test."""
    with services_factory(tmp_path_factory.mktemp("builds")) as start:
        yield start


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """A hub with Trusted Builds by buildah and a git server, shared by all modules: use unique repository names."""
    with services_factory(tmp_path_factory.mktemp("shared-builds")) as start:
        yield start()
