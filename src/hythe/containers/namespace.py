"""User and mount namespaces of the hythe process itself.

Without root, all access to container files happens in a user namespace whose IDs from 1 on are the user's subordinate
IDs (``/etc/subuid``). Mounts are made in a private mount namespace that ends with its process, so that a crash leaves
no mounts.
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
    """Whether this process runs in a user namespace with other IDs than the host's."""
    return Path("/proc/self/uid_map").read_text().split() != ["0", "0", "4294967295"]


def become_root() -> None:
    """Make this process root, in a new user namespace unless it already is root.

    The process must be single-threaded. Raises ContainerError if user namespaces are not allowed.
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
        raise ContainerError(f"cannot create a user namespace: {error.strerror}", _HINT) from error
    os.write(ready[1], b"1")
    os.close(ready[1])
    message = _read_all(proceed[0])
    os.waitpid(child, 0)
    if message:
        raise ContainerError(message, _HINT)


def use_private_mounts() -> None:
    """Make further mounts private to this process and its children; the kernel removes them when these end.

    Raises ContainerError if root is not allowed to mount, as in most containers.
    """
    try:
        linux.unshare(linux.CLONE_NEWNS)
        linux.mount("none", "/", None, linux.MS_REC | linux.MS_SLAVE)
    except PermissionError as error:
        raise ContainerError(
            "root is not allowed to mount here", "grant CAP_SYS_ADMIN, or run as an ordinary user"
        ) from error


def _map_ids_of_parent(ready: tuple[int, int], proceed: tuple[int, int]) -> None:
    """In the forked child, outside the namespace: map the parent's IDs once it has unshared. Never returns."""
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
        raise ContainerError(f"{table} has no range for your user")
    outcome = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if outcome.returncode:
        raise ContainerError(f"{program} failed: {outcome.stderr.strip()}")


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
