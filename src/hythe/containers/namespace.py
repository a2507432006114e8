"""Namespaces of the hythe process itself.

Without root, everything that touches files of containers happens in a user namespace whose ids 1.. are the user's
subordinate ones (``/etc/subuid``). Mounts are made in a mount namespace that dies with the process that made them, so
that no crash leaves a mount behind.
"""

import contextlib
import os
import pwd
import shutil
import subprocess
from pathlib import Path

from hythe.containers import linux
from hythe.containers.errors import ContainerError

_HINT = "run as root, or install uidmap and give your user a range in /etc/subuid and /etc/subgid"


def in_user_namespace() -> bool:
    """Whether this process's root is somebody else outside."""
    return Path("/proc/self/uid_map").read_text().split() != ["0", "0", "4294967295"]


def become_root() -> None:
    """Make this process root: in a user namespace of its own when it is not root already.

    It must have one thread only. Raises ContainerError when the system allows no user namespace.
    """
    if os.geteuid() == 0:
        return
    ready, proceed = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        _map_ids_of_parent(ready, proceed)
    os.close(ready[0])
    os.close(proceed[1])
    try:
        linux.unshare(linux.CLONE_NEWUSER | linux.CLONE_NEWNS)
    except OSError as error:
        os.close(ready[1])
        os.waitpid(child, 0)
        raise ContainerError(f"no user namespace can be made here: {error.strerror}", _HINT) from error
    os.write(ready[1], b"1")
    os.close(ready[1])
    message = _read_all(proceed[0])
    os.waitpid(child, 0)
    if message:
        raise ContainerError(message, _HINT)


def use_private_mounts() -> None:
    """Keep mounts made from here on from everybody else; they go when the last process that sees them ends.

    Raises ContainerError where root may not do that, as in most containers.
    """
    try:
        linux.unshare(linux.CLONE_NEWNS)
        linux.mount("none", "/", None, linux.MS_REC | linux.MS_SLAVE)
    except PermissionError as error:
        raise ContainerError("this root may not mount", "grant CAP_SYS_ADMIN, or run as an ordinary user") from error


def _map_ids_of_parent(ready: tuple[int, int], proceed: tuple[int, int]) -> None:
    """In the forked child, still outside: map the parent's ids once it has unshared. Never returns."""
    try:
        os.close(ready[1])
        os.close(proceed[0])
        if os.read(ready[0], 1):
            parent = str(os.getppid())
            _map("newuidmap", parent, os.getuid(), "/etc/subuid")
            _map("newgidmap", parent, os.getgid(), "/etc/subgid")
    except (OSError, subprocess.SubprocessError, ContainerError) as error:
        os.write(proceed[1], str(error).encode())
    finally:
        os._exit(0)


def _map(program: str, process: str, own: int, table: str) -> None:
    if shutil.which(program) is None:
        raise ContainerError(f"{program} is not installed")
    arguments = [program, process, "0", str(own), "1"]
    inside = 1
    for first, count in _subordinate_ranges(Path(table)):
        arguments += [str(inside), str(first), str(count)]
        inside += count
    if inside == 1:
        raise ContainerError(f"{table} has no range for you")
    outcome = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if outcome.returncode:
        raise ContainerError(f"{program} refused: {outcome.stderr.strip()}")


def _subordinate_ranges(table: Path) -> list[tuple[int, int]]:
    uid = os.getuid()
    names = {str(uid)}
    with contextlib.suppress(KeyError):
        names.add(pwd.getpwuid(uid).pw_name)
    lines = (line.strip().split(":") for line in table.read_text().splitlines())
    return [(int(line[1]), int(line[2])) for line in lines if len(line) == 3 and line[0] in names]


def _read_all(descriptor: int) -> str:
    with os.fdopen(descriptor, "rb") as pipe:
        return pipe.read().decode(errors="replace")
