"""The processes of builds and the one that forks them: how they end, and what ends with them."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hythe.worker import build_fork_server
from hythe.worker.build_process import BuildForkServer, BuildProcess

WORKER = """
import time
from hythe.worker.build_process import BuildForkServer
process = BuildForkServer().fork()
print(process.pid, flush=True)
time.sleep(60)
"""


def parent_of(pid: int) -> int:
    """Return the parent of a process."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def wait_for_end(*pids: int) -> None:
    """Return when none of the processes runs any more; zombies do not run."""
    deadline = time.monotonic() + 10
    for pid in pids:
        stat = Path(f"/proc/{pid}/stat")
        while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.fixture(scope="module")
def fork_server() -> BuildForkServer:
    """A process that forks."""
    return BuildForkServer()


@pytest.fixture
def process(fork_server: BuildForkServer) -> Iterator[BuildProcess]:
    """A process that waits for its build."""
    with fork_server.fork() as process:
        yield process


def test_a_process_is_killed_with_its_group(process: BuildProcess) -> None:
    """Closing does not wait for a process to end by itself."""
    assert process.is_running
    assert process.wait() == "it was ended by signal 9"
    assert not process.is_running
    assert not Path(f"/proc/{process.pid}").exists()


def test_a_killed_process_is_no_other(process: BuildProcess, fork_server: BuildForkServer) -> None:
    """Until its exit code is known, a process keeps its ID; afterwards nothing is sent to that ID."""
    os.kill(process.pid, signal.SIGTERM)
    wait_for_end(process.pid)
    assert Path(f"/proc/{process.pid}").exists()
    assert process.wait() == "it was ended by signal 15"
    with fork_server.fork() as other:
        assert process.wait() == "it was ended by signal 15"
        process.stop()
        assert other.is_running


def test_a_process_that_fails(fork_server: BuildForkServer) -> None:
    """A process that cannot read its build ends with an exit code, and sends nothing."""
    with fork_server.fork() as process:
        process.start({})  # type: ignore[arg-type]
        while not process.has_ended:
            assert not list(process.exchange(1))
        wait_for_end(process.pid)
        assert process.wait() == "it exited with 1"


def test_a_lost_fork_server() -> None:
    """Its processes end with it, and the next build gets another one."""
    fork_server = BuildForkServer()
    with fork_server.fork() as first:
        lost = parent_of(first.pid)
        os.kill(lost, signal.SIGKILL)
        wait_for_end(lost, first.pid)
        with fork_server.fork() as second:
            assert parent_of(second.pid) != lost
            assert not first.is_running
            assert first.wait() == "it was ended by signal 9"
            assert second.is_running


def test_without_memory_for_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker learns why there is no process; the server goes on and keeps no descriptor."""
    requests, theirs = socket.socketpair()
    pipes = [*os.pipe(), *os.pipe()]

    def refuse() -> int:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(os, "fork", refuse)
    with requests, theirs:
        reply = build_fork_server._fork(requests, (pipes[0], pipes[3]))

    assert (reply.pid, reply.error) == (0, "[Errno 12] Cannot allocate memory")
    for descriptor in (pipes[0], pipes[3]):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)
    for descriptor in (pipes[1], pipes[2]):
        os.close(descriptor)


def test_a_killed_worker() -> None:
    """All processes end with the worker, also when it cannot end them."""
    with subprocess.Popen([sys.executable, "-c", WORKER], stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        pid = int(worker.stdout.readline())
        fork_server = parent_of(pid)
        time.sleep(0.2)
        assert parent_of(pid) == fork_server
        worker.kill()
        wait_for_end(pid, fork_server)
