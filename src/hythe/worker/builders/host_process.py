"""Runs a builder's commands on the host, outside the sandbox, but no longer than the sandbox lives."""

import contextlib
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from hythe.worker.errors import BuildFailed
from hythe.worker.isolation.sandbox import ProcessResult, Sandbox
from hythe.worker.protocol import BuildLimits, Network

POLL_INTERVAL = 0.3
MAX_KEPT_LINES = 40
_NONE: Mapping[str, str] = MappingProxyType({})


def run(
    command: Sequence[str], sandbox: Sandbox, on_line: Callable[[str], None], environment: Mapping[str, str] = _NONE
) -> ProcessResult:
    """Run a command on the host and pass on the lines of its output.

    Raises LimitReached and BuildStopped when the sandbox's time ends. All its processes end then, and also when the
    worker is killed.
    """
    ended = threading.Event()
    last: deque[str] = deque(maxlen=MAX_KEPT_LINES)
    with subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "--", *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=os.environ | dict(environment),
        start_new_session=True,
    ) as process:
        threading.Thread(target=_watch, args=(sandbox, process.pid, ended), daemon=True).start()
        for line in process.stdout or ():
            last.append(line.rstrip("\n"))
            on_line(last[-1])
        code = process.wait()
        ended.set()
    sandbox.require_running()
    return ProcessResult(code, tuple(last))


def is_offline(limits: BuildLimits) -> bool:
    """Return whether steps get no network. Raises BuildFailed if they would get more than allowed."""
    if limits.network is Network.REGISTRY:
        raise BuildFailed("this builder cannot restrict steps to the registry: set the network to off or open")
    return limits.network is Network.OFF


def _watch(sandbox: Sandbox, group: int, ended: threading.Event) -> None:
    while not ended.is_set():
        if sandbox.wait_for_end(POLL_INTERVAL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
            return
