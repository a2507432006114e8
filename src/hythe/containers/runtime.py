"""The OCI runtime: finding crun or runc, and driving it (runtime specification, "Operations").

Which one: ``--runtime``, else ``HYTHE_RUNTIME``, else crun, which starts fastest; but runc first on machines whose
cgroups are neither version 1 nor 2 alone, which crun refuses.
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
    """An installed OCI runtime; ``state`` is the folder it keeps its own notes in."""

    def __init__(self, program: str, state: Path) -> None:
        self.program = program
        self._state = state

    def create(self, container_id: str, bundle: Path, streams: Sequence[int], console: Path | None) -> int:
        """Set the container up, up to its first instruction; returns its process. Raises CannotStart.

        ``streams`` become its standard input, output and error, unless it has a terminal, whose other end is sent to
        the socket ``console``.
        """
        pid_file = bundle / "pid"
        terminal = ("--console-socket", str(console)) if console else ()
        words = ("create", "--bundle", str(bundle), "--pid-file", str(pid_file), *terminal, container_id)
        self._run(words, bundle, streams)
        return int(pid_file.read_text())

    def start(self, container_id: str, bundle: Path) -> None:
        """Let the container run; raises CannotStart."""
        self._run(("start", container_id), bundle, (subprocess.DEVNULL,) * 3)

    def delete(self, container_id: str) -> None:
        """Kill what is left of the container, and forget it; all is well when there is nothing."""
        if (self._state / container_id).exists():
            self._call("delete", "--force", container_id)

    def pause(self, container_id: str) -> bool:
        """Halt all processes of the container; returns whether that worked (without root it may not)."""
        return self._call("pause", container_id)

    def resume(self, container_id: str) -> None:
        """Let the processes go on."""
        self._call("resume", container_id)

    def _call(self, *words: str) -> bool:
        arguments = (self.program, "--root", str(self._state), *words)
        return subprocess.run(arguments, capture_output=True, check=False).returncode == 0

    def _run(self, words: Sequence[str], bundle: Path, streams: Sequence[int]) -> None:
        log = bundle / "runtime.log"
        log.unlink(missing_ok=True)
        arguments = (self.program, "--root", str(self._state), "--log", str(log), "--log-format", "json", *words)
        standard_input, output, errors = streams
        outcome = subprocess.run(
            arguments, stdin=standard_input, stdout=output, stderr=errors, check=False, umask=IMAGE_UMASK
        )
        if outcome.returncode:
            message = last_error(log) or f"{self.program} ended with exit code {outcome.returncode}"
            raise CannotStart(message, exit_code=exit_code_for(message))


def find_runtime(chosen: str, state: Path) -> Runtime:
    """Return the runtime that was chosen (a name or path), or the best that is installed; raises CannotStart."""
    chosen = chosen or os.environ.get("HYTHE_RUNTIME", "")
    order = ("runc", "crun") if _HYBRID.is_dir() else ("crun", "runc")
    for name in (chosen,) if chosen else order:
        program = shutil.which(name)
        if program is not None:
            state.mkdir(parents=True, exist_ok=True, mode=0o700)
            return Runtime(program, state)
    raise CannotStart(f"no OCI runtime: {chosen or 'neither crun nor runc'} is not installed", "install runc or crun")


def remove_leftovers(container_id: str, chosen: str, state: Path) -> None:
    """Let the runtime forget a container, processes and control groups too, that a crash of its supervisor left."""
    if (state / container_id).exists():
        find_runtime(chosen, state).delete(container_id)


def last_error(log: Path) -> str:
    """Return the last error in a runtime's log (JSON lines); "" when there is none."""
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
    """Return docker's exit code for a runtime's error: 127 no such program, 126 not to be run, 125 anything else."""
    if "exec" not in message:
        return 125
    if any(phrase in message.lower() for phrase in _NOT_RUNNABLE):
        return CANNOT_RUN
    return NOT_FOUND if any(phrase in message.lower() for phrase in _NOT_FOUND) else 125
