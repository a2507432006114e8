"""Removes what the process of a build leaves behind when it is killed: mounts, work folders and control groups."""

import contextlib
import subprocess
from collections.abc import Callable
from pathlib import Path

from hythe.worker.isolation.cgroup import remove_groups
from hythe.worker.source_tree import remove


def remove_leftovers(folder: Path) -> None:
    """Remove what the builds of a killed worker left in ``folder``."""
    _unmount(lambda point: point.startswith(f"{folder}/"))
    names = [path.name for path in (folder / "work").iterdir()] if (folder / "work").exists() else []
    remove_groups(folder, names)
    remove(folder / "work")
    (folder / "work").mkdir(parents=True, exist_ok=True)


def remove_build(folder: Path, name: str) -> None:
    """Remove what one build left, whose processes have ended. ``name``: see ``Job.attempt_name``."""
    work = folder / "work" / name
    _unmount(lambda point: point == str(work) or point.startswith((f"{work}/", f"{work}.")))
    for path in (work, *work.parent.glob(f"{name}.*")):
        remove(path)


def _unmount(is_leftover: Callable[[str], bool]) -> None:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    points = [line.split()[1].replace("\\040", " ") for line in lines]
    for point in sorted(filter(is_leftover, points), key=len, reverse=True):
        with contextlib.suppress(OSError):
            subprocess.run(["umount", "--lazy", point], capture_output=True, check=False)
