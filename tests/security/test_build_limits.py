"""Everything done for a build ends with the build: at its deadline, when it is cancelled, and within its memory."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.builds.services import PASSWORD, Services, services_factory
from tests.parts.faulty_proxy import Fault, FaultyProxy, faulty_proxies
from tests.parts.hub import HYTHE
from tests.parts.process import clear_away
from tests.security.hostile_servers import running_hostile_server

pytestmark = pytest.mark.clients

TIMEOUT = 2
"""Seconds that the hostile builds may take."""
MARGIN = 5
"""Seconds until the next build starts; the attacks would take minutes."""
OTHER = "bobby"
MEMORY = 120 << 20
TOKEN = "token-of-the-workers"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """HOST:PORT of the hostile server."""
    with running_hostile_server() as own:
        yield own


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """A hub with one worker for one build at a time, and another account with a build."""
    with services_factory(tmp_path_factory.mktemp("limits")) as start:
        services = start(env={"HYTHE_BUILDS_MEMORY": str(MEMORY), "HYTHE_BUILDS_DISK": str(4 << 30)})
        services.hub.create_user(OTHER, PASSWORD)
        source = services.source("other", {"Dockerfile": "FROM scratch\nADD Dockerfile /\n"})
        body = {"source": {"url": source.url}}
        services.call("POST", f"/api/v1/repositories/{OTHER}/app/build-configuration", body, user=OTHER)
        seconds_until(services, trigger_other(services), OTHER, is_over)  # the first build starts the worker
        yield services


def trigger_other(services: Services) -> str:
    """Queue a build of the other account; return its path in the API."""
    path = f"/api/v1/repositories/{OTHER}/app"
    where = services.call("GET", f"{path}/build-configuration/trigger", user=OTHER)["path"]
    [number] = services.call("POST", where, {}, user="")["builds"]
    return f"{path}/builds/{number}"


def seconds_until(services: Services, build: str, user: str, condition: Callable[[dict[str, Any]], bool]) -> float:
    """Return the seconds until a build meets a condition; fail after 40."""
    began = time.monotonic()
    while not condition(found := services.call("GET", build, user=user)):
        assert time.monotonic() - began < 40, found
        time.sleep(0.05)
    return time.monotonic() - began


def start_slow_checkout(services: Services, proxy: FaultyProxy, timeout: int) -> str:
    """Start a build whose git server sends a byte per second; return its path in the API once it runs."""
    name = f"slow-checkout-{timeout}"
    source = services.source(name)
    source.url = source.url.replace(proxy.upstream, proxy.url)
    path = services.configure(name, source, {"source": "main", "timeout": timeout})
    proxy.faults.append(Fault(".", times=1000, bytes_per_second=1))
    [number] = services.trigger(path)
    build = f"{path}/builds/{number}"
    seconds_until(services, build, "alice", lambda found: found["status"] != "queued")
    return build


def start_hostile(services: Services, name: str, server: str, timeout: int = TIMEOUT) -> str:
    """Start a build that asks the hostile server; return its path in the API once it runs."""
    files = {"Dockerfile": f"FROM {server}/{name}/app:1\n"}
    source = services.source(f"hostile-{name}-{timeout}", files)
    rule = {"source": "main", "timeout": timeout}
    path = services.configure(f"hostile-{name}-{timeout}", source, rule)
    [number] = services.trigger(path)
    build = f"{path}/builds/{number}"
    seconds_until(services, build, "alice", lambda found: found["status"] != "queued")
    return build


def end(services: Services, build: str) -> None:
    """Cancel a build of the other account, and wait for its end."""
    services.try_call("POST", f"{build}/cancel", user=OTHER)  # it can have ended
    seconds_until(services, build, OTHER, is_over)


def is_over(build: dict[str, Any]) -> bool:
    """Whether a build has ended."""
    return build["status"] not in ("queued", "running")


@pytest.mark.parametrize("name", ["slow-body", "slow-headers", "token", "slow-chunks", "early-hints"])
def test_a_server_that_holds_on_ends_with_the_build(services: Services, server: str, name: str) -> None:
    """Another account's build starts soon after the deadline, and the reason names the deadline."""
    build = start_hostile(services, name, server)
    other = trigger_other(services)

    waited = seconds_until(services, other, OTHER, lambda found: found["status"] != "queued")

    ended = services.call("GET", build)
    assert waited < TIMEOUT + MARGIN
    assert (ended["status"], f"longer than its {TIMEOUT} seconds" in ended["reason"]) == ("failed", True), ended
    end(services, other)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("endless", "larger than"),
        ("loop", "too many redirects"),
        ("large-error", "larger than"),
        ("bomb", ""),
    ],
)
def test_responses_without_end(services: Services, server: str, name: str, said: str) -> None:
    """They fail at once, or exceed the memory of the build; that of the worker stays as it is."""
    [worker] = [pid for pid in children(services.hub.pid) if b"\0worker\0" in command_of(pid)]
    before = peak_memory(worker)

    build = start_hostile(services, name, server, timeout=30)
    seconds_until(services, build, "alice", is_over)

    ended = services.call("GET", build)
    assert ended["status"] == "failed"
    assert said in ended["reason"], ended
    assert peak_memory(worker) - before < 20_000


def test_a_slow_git_server(services: Services, start_faulty_proxy: Callable[[str], FaultyProxy]) -> None:
    """The checkout ends with the build, too: at the deadline, and when it is cancelled."""
    upstream = services.sources["other"].url.partition("/src/")[0]
    late = start_slow_checkout(services, start_faulty_proxy(upstream), TIMEOUT)
    seconds_until(services, late, "alice", is_over)
    cancelled = start_slow_checkout(services, start_faulty_proxy(upstream), 60)
    time.sleep(1)
    services.call("POST", f"{cancelled}/cancel")

    assert seconds_until(services, cancelled, "alice", is_over) < MARGIN
    assert services.call("GET", cancelled)["status"] == "cancelled"
    assert f"longer than its {TIMEOUT} seconds" in services.call("GET", late)["reason"]


@pytest.mark.parametrize("name", ["slow-body", "token"])
def test_cancelling_ends_every_phase(services: Services, server: str, name: str) -> None:
    """Within about a second, although the build waits for a server."""
    build = start_hostile(services, name, server, timeout=60)
    seconds_until(services, build, "alice", lambda found: found["steps"] and found["steps"][-1]["seconds"] is None)
    time.sleep(1)

    services.call("POST", f"{build}/cancel")
    other = trigger_other(services)

    assert seconds_until(services, other, OTHER, lambda found: found["status"] != "queued") < MARGIN
    assert services.call("GET", build)["status"] == "cancelled"
    end(services, other)


@pytest.mark.parametrize("how", ["deadline", "cancel"])
def test_a_process_that_does_not_react(services: Services, server: str, how: str) -> None:
    """A stopped process of a build delays neither the deadline nor a cancellation."""
    build = start_hostile(services, "silent", server, timeout=4 if how == "deadline" else 61)
    [worker] = [pid for pid in children(services.hub.pid) if b"\0worker\0" in command_of(pid)]
    [fork_server] = [pid for pid in children(worker) if b"build_fork_server" in command_of(pid)]
    [process] = children(fork_server)
    os.kill(process, signal.SIGSTOP)
    if how == "cancel":
        services.call("POST", f"{build}/cancel")
    other = trigger_other(services)

    assert seconds_until(services, other, OTHER, lambda found: found["status"] != "queued") < 4 + MARGIN
    ended = services.call("GET", build)
    assert ended["status"] == ("failed" if how == "deadline" else "cancelled")
    assert how == "cancel" or "longer than its 4 seconds" in ended["reason"]
    assert not Path(f"/proc/{process}").exists()
    end(services, other)


@dataclass(frozen=True)
class RemoteWorker:
    """A hub, and a worker as on another host, whose pushes the network between them swallows."""

    services: Services
    folder: Path


@pytest.fixture(scope="module")
def remote_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RemoteWorker]:
    """A worker whose pushes stall."""
    folder = tmp_path_factory.mktemp("remote")
    with services_factory(folder) as start:
        services = start(env={"HYTHE_BUILDS_WORKERS": "0", "HYTHE_WORKER_TOKEN": TOKEN})
        with faulty_proxies() as start_proxy:
            proxy = start_proxy(services.hub.url)
            proxy.faults.append(Fault("(PUT|PATCH) .*/blobs/uploads/", times=100, is_silent=True))
            with running_worker(proxy.url, folder / "worker"):
                yield RemoteWorker(services, folder / "worker")


@pytest.mark.parametrize("how", ["deadline", "cancel"])
def test_a_push_that_stalls(remote_worker: RemoteWorker, how: str) -> None:
    """A push ends at the deadline, and within about a second when it is cancelled; no mount is left."""
    own = remote_worker.services
    rule = {"source": "main", "timeout": 7 if how == "deadline" else 60}
    path = own.configure(f"pushed-{how}", own.source(f"pushed-{how}"), rule)
    [number] = own.trigger(path)
    build = f"{path}/builds/{number}"
    seconds_until(own, build, "alice", lambda found: any(s["name"] == "push" for s in found["steps"]))
    if how == "cancel":
        own.call("POST", f"{build}/cancel")

    waited = seconds_until(own, build, "alice", is_over)

    ended = own.call("GET", build)
    assert waited < (7 if how == "deadline" else 0) + MARGIN
    assert ended["status"] == ("failed" if how == "deadline" else "cancelled")
    assert how == "cancel" or "longer than its 7 seconds" in ended["reason"]
    assert not list((remote_worker.folder / "work").iterdir())
    assert str(remote_worker.folder) not in Path("/proc/self/mounts").read_text()


SPARSE_DATABASES = (
    "RUN mkdir -p /var/lib/dpkg/status.d && for i in 1 2; do truncate -s 64M /var/lib/dpkg/status.d/$i; done\n"
)
# Some files are the worker's, and cannot be changed.
SPARSE_INDEX = "#!/bin/sh\nfor f in $(find /work/out -type f); do truncate -s 1G $f; done; true\n"
FIFOS = "#!/bin/sh\nfor f in $(find /work/out -type f); do rm $f; mkfifo $f; done\n"


@pytest.mark.parametrize(
    ("name", "files", "status"),
    [
        ("sparse-databases", {"Dockerfile": f"FROM scratch\nADD rootfs.tar /\n{SPARSE_DATABASES}"}, "succeeded"),
        ("sparse-index", {"hooks/post_build": SPARSE_INDEX}, "failed"),
        ("fifos", {"hooks/post_build": FIFOS}, "failed"),
    ],
)
def test_files_that_a_build_left(services: Services, name: str, files: dict[str, str | bytes], status: str) -> None:
    """They cost neither the worker nor the build's process memory, and do not make it wait."""
    [worker] = [pid for pid in children(services.hub.pid) if b"\0worker\0" in command_of(pid)]
    before, peak = peak_memory(worker), 0
    path = services.configure(name, services.source(name, files))
    build = f"{path}/builds/{services.trigger(path)[0]}"
    began = time.monotonic()
    while not is_over(found := services.call("GET", build)):
        assert time.monotonic() - began < 40, found
        for _ in range(20):  # more often than the hub is asked, which takes the build's processor
            with contextlib.suppress(OSError):
                peak = max([peak, *(peak_memory(pid) for pid in children(worker))])
            time.sleep(0.01)

    assert found["status"] == status, (found, services.log(path, found["number"]))
    assert peak < 90_000
    assert peak_memory(worker) - before < 20_000


@contextlib.contextmanager
def running_worker(url: str, folder: Path) -> Iterator[None]:
    """Run a worker as on another host."""
    command = [HYTHE, "worker", "--url", url, "--builds-folder", str(folder)]
    with subprocess.Popen(command, env={**os.environ, "HYTHE_WORKER_TOKEN": TOKEN}) as process:
        try:
            yield
        finally:
            process.terminate()
            process.wait(20)
            clear_away(folder)


def command_of(pid: int) -> bytes:
    """Return the command line of a process."""
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def children(pid: int) -> list[int]:
    """Return the child processes of a process."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return [int(each) for thread in threads for each in (thread / "children").read_text().split()]


def peak_memory(pid: int) -> int:
    """Return the largest resident size of a process so far, in KiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)  # 0: it has just ended
