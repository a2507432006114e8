"""Examines the local disk: space, who can read the data folder, and whether SQLite can rely on the file system."""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from hythe.server.doctor.diagnosis import Diagnosis, good, problem, warning
from hythe.server.health import MIN_FREE
from hythe.settings import Settings

SUBJECT = "disk"

LOW_SPACE = 1 << 30
"""Bytes below which a disk is worth a warning."""

LOW_FILES = 10_000
"""Free inodes below which a disk is worth a warning."""

NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "glusterfs", "fuse.sshfs", "fuse.s3fs"})
"""File systems whose locks or syncs SQLite cannot rely on."""


def examine_disk(settings: Settings) -> Iterator[Diagnosis]:
    """Yield the state of the disks of the data folder and the folder of builds."""
    data = settings.data_folder
    yield from _space(data, "the data folder")
    builds = Path(settings.builds_folder) if settings.builds_folder else None
    if settings.builds_workers and builds is not None and builds.exists():
        yield from _space(builds, "builds_folder")
    yield from _modes(data)
    file_system = file_system_of(data)
    if not settings.database_url and file_system in NETWORK_FILE_SYSTEMS:
        yield problem(
            SUBJECT,
            f"{data} is on {file_system}, where SQLite can lose its database",
            "put the data folder on a local disk, or use PostgreSQL and an object store",
        )


def _space(folder: Path, name: str) -> Iterator[Diagnosis]:
    usage, files = shutil.disk_usage(folder), os.statvfs(folder)
    share = usage.free / usage.total if usage.total else 0
    state = f"{name} ({folder}) has {usage.free / (1 << 30):.1f} GiB ({share:.0%}) free"
    hint = "free space or enlarge the disk; 'hythe admin gc' deletes what nothing refers to"
    if usage.free < MIN_FREE:
        yield problem(SUBJECT, state, hint)
    elif usage.free < LOW_SPACE or share < 0.05:
        yield warning(SUBJECT, state, hint)
    elif files.f_files and files.f_favail < LOW_FILES:
        yield warning(SUBJECT, f"{name} ({folder}) has only {files.f_favail} free inodes", "delete small files there")
    else:
        yield good(SUBJECT, state)


def _modes(data: Path) -> Iterator[Diagnosis]:
    for path, what in ((data / "secret.key", "decrypts signing keys"), (data / "hythe.db", "has password hashes")):
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            yield problem(SUBJECT, f"other users of this machine can read {path}, which {what}", f"chmod 600 {path}")


def file_system_of(path: Path) -> str:
    """Return the type of the file system that holds ``path``, as the kernel calls it; empty if unknown."""
    try:
        lines = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return ""
    mounts = ((fields[1].replace("\\040", " "), fields[2]) for fields in map(str.split, lines))
    resolved = path.resolve()
    holding = [(mount, kind) for mount, kind in mounts if resolved.is_relative_to(mount)]
    return max(holding, key=lambda found: len(found[0]), default=("", ""))[1]
