"""Processes of the `hythe` command that start in a tenth of the usual CPU time: forks of a parent that has imported it.

Imports take four fifths of the time that a server takes to start. A process started here differs only in two things
from one that a shell starts: its command line in /proc is the parent's, and the parent, not the test, reaps it.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from tests.parts.process import Program

PARENT = Path(__file__).with_name("preloaded_parent.py")
LARGEST_RESPONSE = 1024


class _Parent:
    """The parent process. It ends with the process of the tests, because its socket closes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            number = theirs.fileno()
            subprocess.Popen(  # the tests do not wait for it
                [sys.executable, "-P", PARENT, str(number)],
                stdin=subprocess.DEVNULL,
                pass_fds=[number],
                start_new_session=True,
            )

    def request(self, message: Mapping[str, Any], descriptors: Sequence[int] = ()) -> Any:
        """Send a message and return the response."""
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(message).encode()], descriptors)
            return json.loads(self._socket.recv(LARGEST_RESPONSE))


@cache
def _parent() -> _Parent:
    return _Parent()


@dataclass(slots=True)
class PreloadedProcess:
    """A running process, with the attributes and methods of `subprocess.Popen` that tests use."""

    pid: int
    returncode: int | None = None
    _end: int = field(init=False)

    def __post_init__(self) -> None:
        self._end = os.pidfd_open(self.pid)

    def poll(self) -> int | None:
        """Return the exit code, or None while the process runs."""
        if self.returncode is None:
            self.returncode = _parent().request({"poll": self.pid})
            if self.returncode is not None:
                os.close(self._end)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code; raises `subprocess.TimeoutExpired` after `timeout` seconds."""
        while (code := self.poll()) is None:
            if not select.select([self._end], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired([str(self.pid)], timeout or 0)
        return code

    def send_signal(self, sig: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, sig)


def start(
    command: Sequence[str],
    *,
    stdin: IO[bytes],
    stdout: IO[bytes],
    stderr: IO[bytes],
    env: Mapping[str, str],
) -> PreloadedProcess:
    """Start `command`, which begins with the path of the `hythe` script, in its own session."""
    request = {"command": command, "env": dict(env), "cwd": str(Path.cwd())}
    return PreloadedProcess(_parent().request(request, [file.fileno() for file in (stdin, stdout, stderr)]))


def run(
    command: Sequence[str], *, stdin: str, env: Mapping[str, str], seconds: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `command` to its end, as `subprocess.run` does, and return its exit code and output.

    Raises `subprocess.TimeoutExpired` after `seconds`.
    """
    with TemporaryFile() as given, TemporaryFile() as out, TemporaryFile() as errors:
        given.write(stdin.encode())
        given.seek(0)
        process = start(command, stdin=given, stdout=out, stderr=errors, env=env)
        try:
            code = process.wait(seconds)
        finally:
            process.send_signal(signal.SIGKILL)
        for file in (out, errors):
            file.seek(0)
        return subprocess.CompletedProcess(command, code, out.read().decode(), errors.read().decode())


class PreloadedProgram(Program):
    """A `Program` that runs the `hythe` command in a process started here."""

    def _start(
        self, stdout: IO[bytes], stderr: IO[bytes], env: Mapping[str, str] | None, cwd: Path | None
    ) -> PreloadedProcess:
        with Path(os.devnull).open("rb") as nothing:
            return start(self.command, stdin=nothing, stdout=stdout, stderr=stderr, env=env or os.environ)
