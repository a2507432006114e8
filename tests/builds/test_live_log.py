"""The live log of a build: followed by the command, and of a build that is deleted."""

from __future__ import annotations

import base64
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.builds.hand_worker import BY_HAND, HandWorker
from tests.builds.services import PASSWORD, Services
from tests.parts.hythe_client import HytheClient


@pytest.fixture(scope="module")
def services(start_services: Callable[..., Services]) -> Services:
    """A hub without workers."""
    return start_services(BY_HAND)


@pytest.mark.parametrize(("status", "code"), [("succeeded", 0), ("failed", 1)])
def test_the_command_follows_the_log(services: Services, hythe: HytheClient, status: str, code: int) -> None:
    """`hythe builds start --follow` prints the log as it grows, until the build ends; its exit code is the build's."""
    name = f"log-{status}"
    services.call(
        "POST",
        f"/api/v1/repositories/alice/{name}/build-configuration",
        {"source": {"url": "https://git.example/a/b.git"}},
    )
    hythe.login(services.hub.host, "alice", PASSWORD)
    worker = HandWorker(services.hub.url)
    with ThreadPoolExecutor() as threads:
        start = ("builds", "start", f"{services.hub.host}/alice/{name}", "--branch", "main", "--follow")
        followed = threads.submit(hythe.run, *start, seconds=60)
        job = worker.claim(wait=30)
        assert job is not None
        worker.log(job, 0, b"first\n")
        worker.log(job, 6, b"second\n")
        worker.finish(job, status)
        done = followed.result()

    assert (done.stdout, done.returncode) == ("first\nsecond\n", code), done.stderr
    assert hythe.ok("builds", "log", f"{services.hub.host}/alice/{name}", "1") == "first\nsecond"


def test_deleting_a_build_ends_its_live_log(services: Services) -> None:
    """Readers get the event ``gone``, and the server logs no error."""
    path = "/api/v1/repositories/alice/followed"
    services.call("POST", f"{path}/build-configuration", {"source": {"url": "https://git.example/a/b.git"}})
    services.call("POST", f"{path}/builds", {})
    assert HandWorker(services.hub.url).claim() is not None
    pair = base64.b64encode(f"alice:{PASSWORD}".encode()).decode()
    request = urllib.request.Request(
        f"{services.hub.url}{path}/builds/1/events", headers={"Authorization": f"Basic {pair}"}
    )
    with urllib.request.urlopen(request, timeout=30) as stream:
        assert stream.readline() == b"event: status\n"

        services.call("DELETE", f"{path}/build-configuration")

        assert stream.read().endswith(b"event: end\ndata: gone\n\n")
    assert "Traceback" not in services.hub.log
