"""Overlay file systems: whiteouts on disk, and mounting (kernel documentation, "Overlay Filesystem").

On disk, a whiteout is a character device 0/0, and an opaque folder has an extended attribute, named ``trusted.*`` for
root and ``user.*`` in a user namespace. fuse-overlayfs, the fallback if the kernel cannot mount overlays, reads these
and sometimes writes two other forms.
"""

import os
import shutil
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path

from hythe.containers import linux
from hythe.containers.errors import CannotStart
from hythe.containers.namespace import in_user_namespace
from hythe.oci.layer import OPAQUE_NAME, WHITEOUT_PREFIX

_OPAQUE_XATTRS = ("trusted.overlay.opaque", "user.overlay.opaque", "user.fuseoverlayfs.opaque")
_OWN_PREFIXES = ("trusted.overlay.", "user.overlay.", "user.fuseoverlayfs.")
_FUSE_OPAQUE_NAME = ".wh..opq"
"""A whiteout with this name is another opaque marker of fuse-overlayfs."""
MAX_LAYERS = 500
"""The kernel's limit of lower folders."""


def opaque_xattr() -> str:
    """Return the attribute that marks an opaque folder in this process's overlays."""
    return "user.overlay.opaque" if in_user_namespace() else "trusted.overlay.opaque"


def is_own_xattr(name: str) -> bool:
    """Whether an attribute belongs to the overlay: it is never unpacked from or packed into an archive."""
    return name.startswith(_OWN_PREFIXES)


def make_whiteout(name: str, folder: int) -> None:
    """Create a whiteout for ``name`` in the folder descriptor ``folder``."""
    os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=folder)


def is_whiteout(status: os.stat_result) -> bool:
    """Whether a file is a whiteout."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def make_opaque(folder: int) -> None:
    """Mark a folder, given by a readable descriptor, as opaque."""
    os.setxattr(folder, opaque_xattr(), b"y")


def is_opaque_mark(name: str, status: os.stat_result) -> bool:
    """Whether a file is an opaque marker, and not a file of the container."""
    return name in (OPAQUE_NAME, _FUSE_OPAQUE_NAME) and _is_marker(status)


def is_opaque(folder: int) -> bool:
    """Whether the folder, given by a readable descriptor, hides the lower layers' content."""
    return any(_has_xattr(folder, name) for name in _OPAQUE_XATTRS) or any(
        _has_marker(folder, name) for name in (OPAQUE_NAME, _FUSE_OPAQUE_NAME)
    )


def whiteout_name(name: str, status: os.stat_result) -> str | None:
    """Return the name that a whiteout in fuse-overlayfs's other form deletes; None for any other file."""
    if not name.startswith(WHITEOUT_PREFIX) or name == OPAQUE_NAME or not _is_marker(status):
        return None
    return name.removeprefix(WHITEOUT_PREFIX)


def _is_marker(status: os.stat_result) -> bool:
    """Whether a file with a reserved name has the form that fuse-overlayfs gives its own: empty, with mode 0700.

    The kernel lets containers create other files with such names; fuse-overlayfs refuses them, except for folders.
    """
    is_own_file = stat.S_ISREG(status.st_mode) and status.st_size == 0 and stat.S_IMODE(status.st_mode) == 0o700
    return is_own_file or is_whiteout(status)


def _has_xattr(folder: int, name: str) -> bool:
    try:
        return os.getxattr(folder, name) == b"y"
    except OSError:
        return False


def _has_marker(folder: int, name: str) -> bool:
    try:
        return _is_marker(os.stat(name, dir_fd=folder, follow_symlinks=False))
    except OSError:
        return False


def mount_overlay(lowers: Sequence[Path], target: Path, upper: Path | None = None, work: Path | None = None) -> None:
    """Mount ``lowers`` (highest first) under ``upper`` at ``target``; read-only without ``upper``.

    The kernel gets short links in the folder ``TARGET.l`` instead of the paths: all options must fit into a page, and
    colons and commas in paths would be separators. Raises CannotStart.
    """
    if len(lowers) > MAX_LAYERS:
        raise CannotStart(f"the image has {len(lowers)} layers; the kernel supports {MAX_LAYERS}")
    links = _make_links(target.with_name(target.name + ".l"), {"u": upper, "w": work}, lowers)
    options = f"lowerdir={':'.join(str(number) for number in range(len(lowers)))}"
    if upper is not None:
        options += ",upperdir=u,workdir=w"
    before = Path.cwd()
    os.chdir(links)
    try:
        _mount(target, options)
    finally:
        os.chdir(before)


def _make_links(folder: Path, named: dict[str, Path | None], lowers: Sequence[Path]) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, path in named.items():
        if path is not None:
            (folder / name).symlink_to(path)
    for number, lower in enumerate(lowers):
        (folder / str(number)).symlink_to(lower)
    return folder


def _mount(target: Path, options: str) -> None:
    extra = ",userxattr" if in_user_namespace() else ",index=off,metacopy=off,redirect_dir=off"
    try:
        linux.mount("overlay", target, "overlay", options=options + extra)
    except OSError as error:
        _mount_by_fuse(target, options, error)


def _mount_by_fuse(target: Path, options: str, reason: OSError) -> None:
    program = shutil.which("fuse-overlayfs")
    if program is None:
        raise CannotStart(
            f"the kernel cannot mount an overlay here: {reason.strerror}", "install fuse-overlayfs"
        ) from reason
    outcome = subprocess.run([program, "-o", options, target], capture_output=True, text=True, check=False)
    if outcome.returncode:
        raise CannotStart(
            f"cannot mount an overlay: kernel: {reason.strerror}; fuse-overlayfs: {outcome.stderr.strip()}"
        )
