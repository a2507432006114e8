"""Many pushes to many repositories in a short time: all are built, and in order."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.builds.forge_hub import Connected, ForgeHub
from tests.builds.hand_worker import BY_HAND, TOKEN
from tests.builds.services import Services
from tests.parts.forges import running_forge
from tests.parts.hub import HYTHE
from tests.parts.process import clear_away

pytestmark = pytest.mark.clients

TIMEOUT = 600


@contextmanager
def workers(services: Services, folder: Path, count: int) -> Iterator[None]:
    """Workers as on other hosts, each with its own folder."""
    started = []
    for number in range(count):
        words = ["worker", "--url", services.hub.url, "--builds-folder", str(folder / f"worker-{number}")]
        with (folder / f"log-{number}").open("wb") as log:
            environment = {**os.environ, "HYTHE_WORKER_TOKEN": TOKEN}
            started.append(subprocess.Popen([HYTHE, *words], env=environment, stderr=log, start_new_session=True))
    try:
        yield
    finally:
        # Every build has finished, so the workers have nothing to clean up.
        for process in started:
            process.kill()
            process.wait(60)
        clear_away(folder)


def pushed(connected: Connected, pushes: int) -> list[str]:
    """Push commits one after the other, each with its webhook; returns them."""
    commits = []
    for number in range(pushes):
        commits.append(connected.project.git.commit({"number": str(number)}, f"Push {number}"))
        [sent] = connected.forge.push(connected.project, "refs/heads/main", commits[-1])
        assert sent.status == 202, sent.reply
    return commits


def finished(services: Services, connected: Connected) -> list[dict[str, Any]]:
    """Wait until no build of a repository is queued or running; returns all, oldest first."""
    end = time.monotonic() + TIMEOUT
    while True:
        found = services.call("GET", f"{connected.path}/builds?limit=100")["items"][::-1]
        if all(build["status"] not in ("queued", "running") for build in found):
            return list(found)
        assert time.monotonic() < end, [build["status"] for build in found]
        time.sleep(0.2)


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def test_every_push_is_built_in_order(
    start_services: Callable[..., Services],
    request: pytest.FixtureRequest,
    tmp_path: Path,
    rounds: Callable[[int, int], int],
    database: str,
) -> None:
    """With pushes, webhooks and builds on two workers, each rule builds in order, and the tag has the last commit."""
    url = request.getfixturevalue("postgresql_url") if database == "postgresql" else None
    repositories, pushes = rounds(3, 20), rounds(4, 10)
    with running_forge("github") as forge:
        settings = {**BY_HAND, "HYTHE_FORGES": forge.setting, "HYTHE_BUILDS_PER_ACCOUNT": "0"}
        services = start_services(settings, **({"database_url": url} if url else {}))
        forge_hub = ForgeHub(services, {"github": forge})
        connected = [forge_hub.connect("github", f"{database}-{number}") for number in range(repositories)]
        for each in connected:
            each.project.git.commit({"Dockerfile": "FROM scratch\nCOPY number /\n", "number": "none"})
        with workers(services, tmp_path, 2), ThreadPoolExecutor(repositories) as pool:
            commits = list(pool.map(lambda each: pushed(each, pushes), connected))
            builds = [finished(services, each) for each in connected]
        assert forge.violations == []

    for each, expected, found in zip(connected, commits, builds, strict=True):
        assert [build["ref"]["commit"] for build in found] == expected
        assert {build["status"] for build in found} <= {"succeeded", "superseded"}
        built = [build for build in found if build["status"] == "succeeded"]
        starts = [build["started_at"] for build in built]
        assert starts == sorted(starts)
        assert built[-1]["ref"]["commit"] == expected[-1]
        assert services.call("GET", f"{each.path}/tags/latest")["digest"] == built[-1]["digest"]
