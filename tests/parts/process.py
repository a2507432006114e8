"""Starting and stopping real programs for tests, each in its own process group, with a log file."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, NoReturn, Protocol

import pytest

ROOT = Path(__file__).resolve().parents[2]
"""The root of the project."""

SEARCHED = (os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin")

ENOUGH_MEMORY = 2 << 30
"""Bytes that a folder in memory may need."""


class PartFailed(Exception):
    """A program did not start; the message includes the end of its log."""


def program(name: str, package: str) -> str:
    """Return the path of a program; fails the test, with the install command, if it is not installed."""
    found = shutil.which(name, path=os.pathsep.join(SEARCHED))
    if found is None:
        missing(name, package)
    return found


def missing(what: str, package: str) -> NoReturn:
    """Fail the test because `what`, from the Debian package `package`, is not installed. Never returns."""
    pytest.fail(
        f"{what} is not installed. hint: run `make system-packages`, or `apt-get install {package}`",
        pytrace=False,
    )


def free_port() -> int:
    """Return an unused TCP port on 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def own_folder(name: str, *, in_memory: bool = False) -> Iterator[Path]:
    """A temporary folder with a short path (unix socket paths are limited to 107 bytes), removed afterwards.

    With ``in_memory``, it is on a tmpfs if the host has one with enough space.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"hythe-{name}-", dir=_memory() if in_memory else None))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        clear_away(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _memory() -> Path | None:
    """The host's tmpfs for programs, unless it is as small as in most containers."""
    found = Path("/dev/shm")
    return found if found.is_dir() and shutil.disk_usage(found).free > ENOUGH_MEMORY else None


def clear_away(folder: Path) -> None:
    """Kill the processes and unmount the mounts that a container engine left in `folder`."""
    for process in processes_naming(f"{folder}/"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    lines = Path("/proc/self/mounts").read_text().splitlines()
    points = [line.split()[1].replace("\\040", " ") for line in lines]
    for point in sorted((p for p in points if p.startswith(f"{folder}/")), key=len, reverse=True):
        subprocess.run(["umount", "--lazy", point], check=False, capture_output=True)


def processes_naming(text: str) -> list[int]:
    """Return the PIDs of processes whose command line contains `text` (a unique path of the test)."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if text.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


def has_children(process: int) -> bool:
    """Return whether a process has child processes."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if (entry / "stat").read_text().rpartition(")")[2].split()[1] == str(process):
                    return True
    return False


class Process(Protocol):
    """What `Program` needs of `subprocess.Popen`."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, sig: int) -> None: ...


class Program:
    """A running program in its own process group; its output goes to `log`, its stdout to `out` if given."""

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        out: Path | None = None,
    ) -> None:
        self.command = [str(part) for part in command]
        self.log = log
        with log.open("ab") as stderr, (out or log).open("ab") as stdout:
            self.process = self._start(stdout, stderr, env, cwd)

    def _start(self, stdout: IO[bytes], stderr: IO[bytes], env: Mapping[str, str] | None, cwd: Path | None) -> Process:
        return subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env=None if env is None else dict(env),
            cwd=cwd,
            start_new_session=True,
        )

    def wait_until(self, ready: Callable[[], bool], seconds: float = 60) -> None:
        """Wait until `ready()` is true; raises `PartFailed` if the program exits or the timeout is over."""
        deadline = time.monotonic() + seconds
        while not answers(ready):
            if self.process.poll() is not None:
                raise PartFailed(f"{self.command[0]} exited with {self.process.returncode}\n{self.log_end()}")
            if time.monotonic() > deadline:
                raise PartFailed(f"{self.command[0]} not ready after {seconds} s\n{self.log_end()}")
            time.sleep(0.02)

    def log_end(self, lines: int = 40) -> str:
        """Return the last lines of the program's output."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self, seconds: float = 15, with_signal: signal.Signals = signal.SIGTERM) -> int:
        """Send the program a signal, wait, then kill its process group. Returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
        return self.kill()

    def kill(self) -> int:
        """Send SIGKILL to the program's process group. Returns its exit code."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        return self.process.wait(15)


@contextlib.contextmanager
def running(
    command: Sequence[str | Path],
    log: Path,
    ready: Callable[[], bool],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    seconds: float = 60,
) -> Iterator[Program]:
    """Run `command` during the block, which starts once `ready()` is true."""
    started = Program(command, log, env, cwd)
    try:
        started.wait_until(ready, seconds)
        yield started
    finally:
        started.kill()


def answers(ready: Callable[[], bool]) -> bool:
    """Return `ready()`; a refused or broken connection counts as not ready."""
    try:
        return ready()
    except OSError:
        return False


def listening(port: int) -> bool:
    """Return whether a server accepts connections on this loopback port."""
    with socket.create_connection(("127.0.0.1", port), timeout=2):
        return True


def http_answers(url: str) -> bool:
    """Return whether `url` returns any HTTP response, including errors."""
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError:
        return True


def with_hosts(command: Sequence[str | Path], hosts: Mapping[str, str], folder: Path) -> list[str]:
    """Return `command` wrapped so that only it sees these host names (name -> address) in /etc/hosts. Needs root."""
    own = folder / "hosts"
    lines = [f"{address} {name}\n" for name, address in hosts.items()]
    own.write_text(Path("/etc/hosts").read_text() + "".join(lines))
    bind = 'mount --bind "$1" /etc/hosts && shift && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", bind, "sh", str(own), *map(str, command)]
