"""Limits a build's memory, processes and CPU with control groups, version 1 or 2, below the worker's own group.

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


class ControlGroup(Protocol):
    """The control group of one build."""

    def add(self, pid: int) -> None:
        """Move a process into the group; its children follow."""

    def problem(self) -> str:
        """Return which limit ended a process; empty if none did."""

    def close(self) -> None:
        """Kill all remaining processes in the group and delete it."""


def make_group(folder: Path, build: str, limits: BuildLimits) -> ControlGroup:
    """Return a new group with these limits for a build of the worker with this folder.

    Raises IsolationUnavailable.
    """
    name = _name(folder, build)
    try:
        if (ROOT / "cgroup.controllers").exists():
            return UnifiedGroup(name, limits)
        return LegacyGroup(name, limits)
    except OSError as error:
        raise IsolationUnavailable(
            f"cannot create a control group ({error}): run the worker as root, or by systemd with Delegate=yes"
        ) from error


class LegacyGroup:
    """Version 1: one folder for each controller."""

    def __init__(self, name: str, limits: BuildLimits) -> None:
        self._limits = limits
        self._folders = {each: _own_folder(each) / name for each in ("memory", "pids", "cpu")}
        settings = {
            "memory": {"memory.limit_in_bytes": limits.memory},
            "pids": {"pids.max": limits.processes},
            "cpu": {"cpu.cfs_period_us": PERIOD, "cpu.cfs_quota_us": int(PERIOD * limits.processors)},
        }
        try:
            for controller, folder in self._folders.items():
                folder.mkdir(exist_ok=True)
                for file, value in settings[controller].items():
                    (folder / file).write_text(str(value))
        except OSError:
            self.close()
            raise

    def add(self, pid: int) -> None:
        """See ControlGroup."""
        for folder in self._folders.values():
            (folder / "cgroup.procs").write_text(str(pid))

    def problem(self) -> str:
        """See ControlGroup."""
        killed = _read_value(self._folders["memory"] / "memory.oom_control", "oom_kill")
        refused = _read_value(self._folders["pids"] / "pids.events", "max")
        return _exceeded_limit(self._limits, killed, refused)

    def close(self) -> None:
        """See ControlGroup."""
        for folder in self._folders.values():
            _remove(folder)


class UnifiedGroup:
    """Version 2: one folder."""

    def __init__(self, name: str, limits: BuildLimits) -> None:
        self._limits = limits
        own = ROOT / _own_path("").lstrip("/")
        parent = _delegated(own)
        self._folder = parent / name
        self._folder.mkdir(exist_ok=True)
        try:
            for file, value in (
                ("memory.max", str(limits.memory)),
                ("memory.swap.max", "0"),
                ("pids.max", str(limits.processes)),
                ("cpu.max", f"{int(PERIOD * limits.processors)} {PERIOD}"),
            ):
                if file != "memory.swap.max" or (self._folder / file).exists():
                    (self._folder / file).write_text(value)
        except OSError:
            self.close()
            raise

    def add(self, pid: int) -> None:
        """See ControlGroup."""
        (self._folder / "cgroup.procs").write_text(str(pid))

    def problem(self) -> str:
        """See ControlGroup."""
        killed = _read_value(self._folder / "memory.events", "oom_kill")
        refused = _read_value(self._folder / "pids.events", "max")
        return _exceeded_limit(self._limits, killed, refused)

    def close(self) -> None:
        """See ControlGroup."""
        with contextlib.suppress(OSError):
            (self._folder / "cgroup.kill").write_text("1")
        _remove(self._folder)


def remove_groups(folder: Path, builds: Iterable[str]) -> None:
    """Remove the groups of builds whose worker has died, and kill the remaining processes."""
    unified = ROOT / _own_path("").lstrip("/")
    parents = [ROOT / each / _own_path(each).lstrip("/") for each in ("memory", "pids", "cpu")]
    for build in builds:
        for parent in (*parents, unified, unified.parent):
            group = parent / _name(folder, build)
            if group.exists():
                _remove(group)


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


def _remove(folder: Path) -> None:
    """Kill the remaining processes and remove the folder, which works once the last one has ended."""
    for _ in range(200):
        with contextlib.suppress(OSError):
            for pid in (folder / "cgroup.procs").read_text().split():
                os.kill(int(pid), signal.SIGKILL)
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.01)
        else:
            return
