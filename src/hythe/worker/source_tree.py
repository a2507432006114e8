"""Reads and writes files in folders of a build, whose files may be symbolic links to anywhere; follows none.

The worker is root, and hooks can write anything into their work folder, on a cached disk even for the next build. Call
these only while no process of the build runs, so that nothing changes after a check.
"""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from hythe.client.layout import NotRegularFile, open_regular

MAX_LAYOUT_DEPTH = 10
MAX_LAYOUT_FILES = 100_000
"""Maximum number of files of an image that a build leaves; a layer is one file."""


class PathEscapes(Exception):
    """A path leads out of the source, or is not a regular file."""


def resolve_inside(root: Path, path: str) -> Path:
    """Return the real path of ``path`` below ``root``. Raises PathEscapes. No process of the build may run."""
    real = Path(os.path.realpath(root / path.lstrip("/")))
    base = Path(os.path.realpath(root))
    if real != base and base not in real.parents:
        raise PathEscapes(f"{path} is a link that leads out of the source")
    return real


def read_inside(root: Path, path: str, max_size: int) -> bytes:
    """Return a regular file's content. Raises PathEscapes, FileNotFoundError."""
    real = resolve_inside(root, path)
    try:
        with open_regular(real) as file:
            content = file.read(max_size + 1)
    except FileNotFoundError:
        raise FileNotFoundError(path) from None
    except NotRegularFile:
        raise PathEscapes(f"{path} is not a regular file") from None
    if len(content) > max_size:
        raise PathEscapes(f"{path} is larger than {max_size} bytes")
    return content


def require_plain_files(folder: Path) -> None:
    """Check that a folder contains only regular files and folders, no links, like an image layout.

    Raises PathEscapes, also if it has too many files or levels.
    """
    if folder.is_symlink():
        raise PathEscapes(f"{folder.name} is a link")
    count = 0
    waiting = [(str(folder), 0)]
    while waiting:
        path, depth = waiting.pop()
        if depth > MAX_LAYOUT_DEPTH:
            raise PathEscapes(f"{folder.name} has more than {MAX_LAYOUT_DEPTH} levels of folders")
        with os.scandir(path) as entries:
            for entry in entries:
                count += 1
                if count > MAX_LAYOUT_FILES:
                    raise PathEscapes(f"{folder.name} has more than {MAX_LAYOUT_FILES} files")
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((entry.path, depth + 1))
                elif not entry.is_file(follow_symlinks=False):
                    raise PathEscapes(f"{entry.name} of the image is not a regular file")


def make_empty(root: Path, path: str) -> Path:
    """Return a new, empty folder at ``path`` below ``root``, replacing what was there. Raises PathEscapes."""
    target = _parent(root, path, _keep_owner) / path.rpartition("/")[2]
    remove(target)
    target.mkdir()
    return target


def remove(target: Path) -> None:
    """Delete ``target``; if it is a link, delete only the link."""
    if target.is_symlink() or target.is_file():
        target.unlink()
    elif target.exists():
        # rm follows no links, and unlike shutil.rmtree it deletes folders of any depth.
        subprocess.run(["rm", "--recursive", "--force", "--", str(target)], capture_output=True, check=False)


def write_inside(root: Path, path: str, content: str, chown: Callable[[Path], None], mode: int = 0o644) -> Path:
    """Write or replace a file below ``root``; pass it and new folders to ``chown``. Raises PathEscapes."""
    target = _parent(root, path, chown) / path.rpartition("/")[2]
    if target.is_dir() and not target.is_symlink():
        raise PathEscapes(f"{path} is a folder")
    target.unlink(missing_ok=True)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
    target.chmod(mode)
    chown(target)
    return target


def _parent(root: Path, path: str, chown: Callable[[Path], None]) -> Path:
    """Return the parent folder of ``path``; create missing folders. Raises PathEscapes at a link."""
    folder = root
    for part in [part for part in path.split("/")[:-1] if part]:
        folder = folder / part
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise PathEscapes(f"{path} cannot be written: {part} is not a folder")
        if not folder.exists():
            folder.mkdir()
            chown(folder)
    return folder


def _keep_owner(_path: Path) -> None:
    """Leave the worker as the owner of a folder."""
