"""Killed workers: another worker builds again, and no tag moves twice or to an incomplete image."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.builds.services import DOCKERFILE, Services
from tests.parts.hub import HYTHE
from tests.parts.process import clear_away

pytestmark = pytest.mark.clients

TOKEN = "the workers' own token"


@pytest.fixture
def start_worker(tmp_path: Path) -> Iterator[Callable[[Services], subprocess.Popen[bytes]]]:
    """Start a worker as on another host: with its own folder, the hub's URL and the worker token."""
    started: list[subprocess.Popen[bytes]] = []

    def start(services: Services) -> subprocess.Popen[bytes]:
        words = ["worker", "--url", services.hub.url, "--builds-folder", str(tmp_path / "worker")]
        with (tmp_path / f"log-{len(started)}").open("wb") as log:
            process = subprocess.Popen(
                [HYTHE, *words], env={**os.environ, "HYTHE_WORKER_TOKEN": TOKEN}, stderr=log, start_new_session=True
            )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
    clear_away(tmp_path)


def test_builds_survive_their_workers(
    start_services: Callable[..., Services],
    start_worker: Callable[[Services], subprocess.Popen[bytes]],
    rounds: Callable[[int, int], int],
) -> None:
    """When a worker is killed at any time, the next one finishes the build, and the tag points to its image."""
    services = start_services(env={"HYTHE_BUILDS_WORKERS": "0", "HYTHE_WORKER_TOKEN": TOKEN, "HYTHE_BUILDS_LEASE": "4"})
    source = services.source("hardy")
    path = services.configure("hardy", source)
    moments = [random.Random(7).uniform(0, 3.0) for _ in range(rounds(2, 10))]
    worker = start_worker(services)
    for moment in moments:
        source.commit({"moment": str(moment)})
        [number] = services.trigger(path)
        services.wait_for(path, number, lambda build: build["status"] != "queued")
        time.sleep(moment)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        worker = start_worker(services)

        build = services.built(path, number)

        assert build["digest"] == services.call("GET", f"{path}/tags/latest")["digest"]
        assert build["ref"]["commit"] == source.head("main")


def test_the_worker_inside_serve_is_replaced(start_services: Callable[..., Services]) -> None:
    """When the worker of `hythe serve` is killed, another is started and finishes the build."""
    services = start_services(env={"HYTHE_BUILDS_LEASE": "3"})
    files = {"Dockerfile": f"{DOCKERFILE}RUN sleep 3\n"}
    path = services.configure("inside", services.source("inside", files))
    [number] = services.trigger(path)
    services.wait_until_log(path, number, "sleep 3")
    [worker] = [pid for pid in children(services.hub.pid) if b"worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    os.kill(worker, signal.SIGKILL)

    build = services.wait(path, number, seconds=120)
    assert build["status"] == "succeeded", build["log"]
    assert build["fence"] == 2
    assert services.call("GET", f"{path}/tags/latest")["digest"] == build["digest"]


def test_the_worker_inside_serve_stops_with_it(start_services: Callable[..., Services]) -> None:
    """With a build that runs, which another worker gets later; the worker does not complain that the hub is away."""
    services = start_services()
    path = services.configure("stopped", services.source("stopped", {"Dockerfile": f"{DOCKERFILE}RUN sleep 60\n"}))
    [number] = services.trigger(path)
    services.wait_until_log(path, number, "sleep 60")

    assert services.hub.stop() == 0

    assert "cannot claim a build" not in services.hub.log
    assert "the build worker ended" not in services.hub.log


def children(pid: int) -> list[int]:
    """The child processes of a process."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return [int(each) for thread in threads for each in (thread / "children").read_text().split()]
