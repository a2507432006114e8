"""The OCI runtime: finding and running crun or runc (runtime specification, "Operations").

The choice is ``--runtime``, else ``HYTHE_RUNTIME``, else crun, which starts fastest; but runc on hosts with hybrid
cgroups (version 1 and 2), which crun does not support.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec

from hythe.containers.errors import CannotStart
from hythe.containers.root import IMAGE_UMASK

_HYBRID = Path("/sys/fs/cgroup/unified")
_NOT_FOUND = ("executable file not found", "executable file `", "no such file or directory")
_NOT_RUNNABLE = ("permission denied", "is a directory", "exec format error")
CANNOT_RUN, NOT_FOUND = 126, 127


class _LogLine(msgspec.Struct, frozen=True):
    level: str = ""
    msg: str = ""


class Runtime:
    """An installed OCI runtime; ``state`` is the folder of its state."""

    def __init__(self, program: str, state: Path) -> None:
        self.program = program
        self._state = state

    def create(self, container_id: str, bundle: Path, streams: Sequence[int], console: Path | None) -> int:
        """Create the container without starting its command; returns its PID. Raises CannotStart.

        ``streams`` become its standard input, output and error, unless it has a terminal: then the runtime sends the
        terminal's other end to the socket ``console``.
        """
        pid_file = bundle / "pid"
        terminal = ("--console-socket", str(console)) if console else ()
        verb_arguments = ("create", "--bundle", str(bundle), "--pid-file", str(pid_file), *terminal, container_id)
        self._run(verb_arguments, bundle, streams)
        return int(pid_file.read_text())

    def start(self, container_id: str, bundle: Path) -> None:
        """Start the container's command; raises CannotStart."""
        self._run(("start", container_id), bundle, (subprocess.DEVNULL,) * 3)

    def delete(self, container_id: str) -> None:
        """Kill the container's processes and delete its state, if any."""
        if (self._state / container_id).exists():
            self._call("delete", "--force", container_id)

    def pause(self, container_id: str) -> bool:
        """Pause all processes of the container; returns whether that succeeded (it can fail without root)."""
        return self._call("pause", container_id)

    def resume(self, container_id: str) -> None:
        """Resume all processes of the container."""
        self._call("resume", container_id)

    def _call(self, *verb_arguments: str) -> bool:
        arguments = (self.program, "--root", str(self._state), *verb_arguments)
        return subprocess.run(arguments, capture_output=True, check=False).returncode == 0

    def _run(self, verb_arguments: Sequence[str], bundle: Path, streams: Sequence[int]) -> None:
        log = bundle / "runtime.log"
        log.unlink(missing_ok=True)
        arguments = (
            self.program,
            "--root",
            str(self._state),
            "--log",
            str(log),
            "--log-format",
            "json",
            *verb_arguments,
        )
        standard_input, output, errors = streams
        result = subprocess.run(
            arguments, stdin=standard_input, stdout=output, stderr=errors, check=False, umask=IMAGE_UMASK
        )
        if result.returncode:
            message = last_error(log) or f"{self.program} ended with exit code {result.returncode}"
            raise CannotStart(message, exit_code=exit_code_for(message))


def find_runtime(chosen: str, state: Path) -> Runtime:
    """Return the chosen runtime (a name or path), or the best installed one; raises CannotStart."""
    chosen = chosen or os.environ.get("HYTHE_RUNTIME", "")
    order = ("runc", "crun") if _HYBRID.is_dir() else ("crun", "runc")
    for name in (chosen,) if chosen else order:
        program = shutil.which(name)
        if program is not None:
            state.mkdir(parents=True, exist_ok=True, mode=0o700)
            return Runtime(program, state)
    raise CannotStart(
        f"no OCI runtime: {f'{chosen} is' if chosen else 'crun and runc are'} not installed", "install runc or crun"
    )


def remove_leftovers(container_id: str, chosen: str, state: Path) -> None:
    """Delete a container from the runtime, with processes and cgroups, after a crash of its supervisor."""
    if (state / container_id).exists():
        find_runtime(chosen, state).delete(container_id)


def last_error(log: Path) -> str:
    """Return the last error in a runtime's log (JSON lines), or ""."""
    try:
        lines = log.read_bytes().splitlines()
    except FileNotFoundError:
        return ""
    messages = [line.msg for line in map(_parsed, lines) if line.level in ("error", "fatal")]
    return messages[-1] if messages else ""


def _parsed(line: bytes) -> _LogLine:
    try:
        return msgspec.json.decode(line, type=_LogLine)
    except msgspec.MsgspecError:
        return _LogLine("error", line.decode(errors="replace"))


def exit_code_for(message: str) -> int:
    """Return docker's exit code for a runtime error: 127 not found, 126 not executable, 125 anything else."""
    if "exec" not in message:
        return 125
    if any(phrase in message.lower() for phrase in _NOT_RUNNABLE):
        return CANNOT_RUN
    return NOT_FOUND if any(phrase in message.lower() for phrase in _NOT_FOUND) else 125
