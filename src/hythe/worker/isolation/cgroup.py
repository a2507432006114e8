"""Limits a build's memory, processes and CPU with control groups, version 1 or 2, below the worker's own group.

A build's steps and the process that serves them (``build_main``) share one limit of memory and CPU; the number of
processes is limited for the steps alone, so that a fork bomb does not disable the process that ends it.

Version 2 requires a delegated subtree (systemd: ``Delegate=yes``) or root. The worker changes only its own group, so
limits that the operator set for the worker also apply to its builds.
"""

import contextlib
import hashlib
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from hythe.worker.errors import IsolationUnavailable
from hythe.worker.protocol import BuildLimits

ROOT = Path("/sys/fs/cgroup")
PREFIX = "hythe-build-"
PERIOD = 100_000
"""Microseconds of a CPU quota's period."""
_ATTEMPTS = 200


class ControlGroup(Protocol):
    """The control group of one build."""

    folders: dict[str, str]
    """Its folder for each controller; version 2 has one, for the controller ""."""

    def add(self, pid: int) -> None:
        """Move a process of the steps into the group; its children follow."""

    def add_build_process(self, pid: int) -> None:
        """Move the process that serves the steps into the group."""

    def problem(self) -> str:
        """Return which limit ended a process; empty if none did."""

    def end_steps(self) -> None:
        """Kill what is left of the steps."""

    def close(self) -> None:
        """Kill all remaining processes in the group and delete it."""


def make_group(folder: Path, build: str, limits: BuildLimits) -> ControlGroup:
    """Return a new group with these limits for a build of the worker with this folder.

    Raises IsolationUnavailable.
    """
    name = _name(folder, build)
    try:
        if (ROOT / "cgroup.controllers").exists():
            group: UnifiedGroup | LegacyGroup = UnifiedGroup(
                {"": str(_delegated(ROOT / _own_path("").lstrip("/")) / name)}, limits
            )
        else:
            group = LegacyGroup({each: str(_own_folder(each) / name) for each in ("memory", "pids", "cpu")}, limits)
        try:
            group.create()
        except OSError:
            group.close()
            raise
    except OSError as error:
        raise IsolationUnavailable(
            f"cannot create a control group ({error}): run the worker as root, or by systemd with Delegate=yes"
        ) from error
    return group


def existing_group(folders: dict[str, str], limits: BuildLimits) -> ControlGroup:
    """Return the group with these ``folders``, which another process made."""
    return UnifiedGroup(folders, limits) if "" in folders else LegacyGroup(folders, limits)


class LegacyGroup:
    """Version 1: one folder for each controller."""

    def __init__(self, folders: dict[str, str], limits: BuildLimits) -> None:
        self.folders = folders
        self._limits = limits

    def create(self) -> None:
        """Create the folders with the limits. Raises OSError."""
        limits = self._limits
        settings = {
            "memory": {"memory.limit_in_bytes": limits.memory},
            "pids": {"pids.max": limits.processes},
            "cpu": {"cpu.cfs_period_us": PERIOD, "cpu.cfs_quota_us": int(PERIOD * limits.processors)},
        }
        for controller, folder in self.folders.items():
            Path(folder).mkdir(exist_ok=True)
            for file, value in settings[controller].items():
                (Path(folder) / file).write_text(str(value))

    def add(self, pid: int) -> None:
        """See ControlGroup."""
        for folder in self.folders.values():
            (Path(folder) / "cgroup.procs").write_text(str(pid))

    def add_build_process(self, pid: int) -> None:
        """See ControlGroup."""
        for controller in ("memory", "cpu"):
            (Path(self.folders[controller]) / "cgroup.procs").write_text(str(pid))

    def problem(self) -> str:
        """See ControlGroup."""
        killed = _read_value(Path(self.folders["memory"]) / "memory.oom_control", "oom_kill")
        refused = _read_value(Path(self.folders["pids"]) / "pids.events", "max")
        return _exceeded_limit(self._limits, killed, refused)

    def end_steps(self) -> None:
        """See ControlGroup."""
        _end_all(Path(self.folders["pids"]))

    def close(self) -> None:
        """See ControlGroup."""
        for folder in self.folders.values():
            _remove(Path(folder))


class UnifiedGroup:
    """Version 2: a folder, and one in it for each of the two kinds of processes, as only leaf groups have processes."""

    def __init__(self, folders: dict[str, str], limits: BuildLimits) -> None:
        self.folders = folders
        self._limits = limits
        self._folder = Path(folders[""])
        self._steps = self._folder / "steps"
        self._build_process = self._folder / "build-process"

    def create(self) -> None:
        """Create the folders with the limits. Raises OSError."""
        limits = self._limits
        self._folder.mkdir(exist_ok=True)
        for file, value in (
            ("memory.max", str(limits.memory)),
            ("memory.swap.max", "0"),
            ("cpu.max", f"{int(PERIOD * limits.processors)} {PERIOD}"),
            ("cgroup.subtree_control", "+pids"),
        ):
            if file != "memory.swap.max" or (self._folder / file).exists():
                (self._folder / file).write_text(value)
        for folder in (self._steps, self._build_process):
            folder.mkdir(exist_ok=True)
        (self._steps / "pids.max").write_text(str(limits.processes))

    def add(self, pid: int) -> None:
        """See ControlGroup."""
        (self._steps / "cgroup.procs").write_text(str(pid))

    def add_build_process(self, pid: int) -> None:
        """See ControlGroup."""
        (self._build_process / "cgroup.procs").write_text(str(pid))

    def problem(self) -> str:
        """See ControlGroup."""
        killed = _read_value(self._folder / "memory.events", "oom_kill")
        refused = _read_value(self._steps / "pids.events", "max")
        return _exceeded_limit(self._limits, killed, refused)

    def end_steps(self) -> None:
        """See ControlGroup."""
        with contextlib.suppress(OSError):
            (self._steps / "cgroup.kill").write_text("1")
        _end_all(self._steps)

    def close(self) -> None:
        """See ControlGroup."""
        with contextlib.suppress(OSError):
            (self._folder / "cgroup.kill").write_text("1")
        for folder in (self._steps, self._build_process, self._folder):
            _remove(folder)


def remove_groups(folder: Path, builds: Iterable[str]) -> None:
    """Remove the groups of builds whose worker has died, and kill the remaining processes."""
    unified = ROOT / _own_path("").lstrip("/")
    parents = [ROOT / each / _own_path(each).lstrip("/") for each in ("memory", "pids", "cpu")]
    for build in builds:
        for parent in (*parents, unified, unified.parent):
            group = parent / _name(folder, build)
            for each in (group / "steps", group / "build-process", group):
                if each.exists():
                    _remove(each)


def _name(folder: Path, build: str) -> str:
    """Include the worker in a group's name: two hubs on one machine have builds with equal numbers."""
    worker = hashlib.blake2b(str(folder).encode(), digest_size=6).hexdigest()
    return f"{PREFIX}{worker}-{build}"


def _delegated(own: Path) -> Path:
    """Return the parent of all builds' groups. Only leaf groups may have processes, so the worker gets one."""
    if own == ROOT:
        return own
    if own.name == "worker":
        return own.parent
    leaf = own / "worker"
    leaf.mkdir(exist_ok=True)
    (leaf / "cgroup.procs").write_text(str(os.getpid()))
    (own / "cgroup.subtree_control").write_text("+memory +pids +cpu")
    return own


def _own_folder(controller: str) -> Path:
    folder = ROOT / controller
    if not folder.exists():
        raise FileNotFoundError(f"control group controller {controller} is not available")
    return folder / _own_path(controller).lstrip("/")


def _own_path(controller: str) -> str:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return path
    return "/"


def _read_value(path: Path, key: str) -> int:
    with contextlib.suppress(OSError):
        for line in path.read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == key:
                return int(value)
    return 0


def _exceeded_limit(limits: BuildLimits, killed: int, refused: int) -> str:
    if killed:
        return f"it used more than its {limits.memory >> 20} MiB of memory"
    if refused:
        return f"it started more than its {limits.processes} processes"
    return ""


def _end_all(folder: Path) -> None:
    """Kill the processes in a group, also those that they start in the meantime."""
    for _ in range(_ATTEMPTS):
        if _end_processes(folder):
            return
        time.sleep(0.01)


def _end_processes(folder: Path) -> bool:
    """Kill the processes in a group; return whether it had none."""
    try:
        pids = (folder / "cgroup.procs").read_text().split()
    except OSError:
        return True
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    return not pids


def _remove(folder: Path) -> None:
    """Kill the remaining processes and remove the folder, which works once the last one has ended."""
    for _ in range(_ATTEMPTS):
        _end_processes(folder)
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.01)
        else:
            return
