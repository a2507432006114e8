"""Where containers live on disk, safe with several hythe processes at once.

FOLDER/containers/ID/container.json   what was asked for
FOLDER/containers/ID/status.json      how it stands; replaced as a whole
FOLDER/containers/ID/supervised       locked by the process that looks after the container while it runs
FOLDER/containers/ID/{upper,work}     what the container changed, as an overlay's upper folder
FOLDER/containers/ID/rootfs           where the overlay is mounted, seen by the supervising process alone
FOLDER/containers/ID/mountpoints      what every container has mounted over, as the lowest layer
FOLDER/containers/ID/files            hosts, hostname, resolv.conf
FOLDER/containers/ID/volumes/N        volumes that the image asks for
FOLDER/containers/ID/log.jsonl        what the container wrote
FOLDER/containers/ID/config.json      the runtime's bundle
FOLDER/names/NAME -> ID               a name is taken by making this link, which only one process can
FOLDER/layers/..                      see ``layers``
FOLDER/volumes/NAME                   volumes with names
FOLDER/runtime                        the OCI runtime's own state

The folder is ``$HYTHE_STATE``, else ``hythe/containers`` in the user's data folder.
"""

import fcntl
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from hythe.client.file_lock import write_atomically
from hythe.containers.container import Container, ContainerState, ContainerStatus
from hythe.containers.errors import ContainerError, NameTaken, NoSuchContainer, NotRemoved, StillRunning
from hythe.containers.process import is_alive
from hythe.containers.root import remove_tree

LOST_EXIT_CODE = 255
"""What a container is said to have ended with when nobody saw it, as docker says."""
_PRIVATE = 0o700


def default_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where containers live."""
    if chosen := environment.get("HYTHE_STATE"):
        return Path(chosen).absolute()
    data = environment.get("XDG_DATA_HOME") or Path(environment.get("HOME", "/root")) / ".local" / "share"
    return Path(data) / "hythe" / "containers"


class ContainerStore:
    """The containers of this user on this machine."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or default_folder()

    def path(self, container: Container) -> Path:
        """Return the container's folder."""
        return self.folder / "containers" / container.id

    # Reading

    def all(self) -> tuple[Container, ...]:
        """Return every container, the newest first."""
        folder = self.folder / "containers"
        found = [self._read(path.name) for path in folder.iterdir()] if folder.is_dir() else []
        return tuple(sorted(filter(None, found), key=lambda container: container.created, reverse=True))

    def find(self, text: str) -> Container:
        """Return the container with this name, ID, or beginning of an ID; raises NoSuchContainer."""
        link = self.folder / "names" / text
        if "/" not in text and link.is_symlink():
            named = self._read(link.readlink().name)
            if named is not None:
                return named
        matching = [container for container in self.all() if text and container.id.startswith(text)]
        if len(matching) > 1:
            raise ContainerError(f"{text} is the beginning of several containers' IDs", "write more of it")
        if not matching:
            raise NoSuchContainer(f"no such container: {text}", "'hythe ps -a' lists them")
        return matching[0]

    def _read(self, container_id: str) -> Container | None:
        path = self.folder / "containers" / container_id / "container.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=Container)
        except (FileNotFoundError, NotADirectoryError):
            return None  # being made or removed at this moment

    def status(self, container: Container) -> ContainerStatus:
        """Return how the container stands; one whose process vanished unseen has exited with LOST_EXIT_CODE."""
        status = self._recorded(container)
        if status.state is not ContainerState.RUNNING or is_alive(status.process, status.started_ticks):
            return status
        if self.is_supervised(container):
            return status
        return msgspec.structs.replace(status, state=ContainerState.EXITED, exit_code=LOST_EXIT_CODE, process=0)

    def _recorded(self, container: Container) -> ContainerStatus:
        try:
            return msgspec.json.decode((self.path(container) / "status.json").read_bytes(), type=ContainerStatus)
        except FileNotFoundError:
            return ContainerStatus()

    def has_process(self, container: Container) -> bool:
        """Whether the container's process lives, for the supervisor itself, to whom the lock says nothing."""
        status = self._recorded(container)
        return status.state is ContainerState.RUNNING and is_alive(status.process, status.started_ticks)

    # Changing

    def add(self, container: Container) -> None:
        """Make a container's folder and take its name; raises NameTaken."""
        for folder in (self.folder, self.folder / "containers", self.folder / "names"):
            folder.mkdir(parents=True, exist_ok=True, mode=_PRIVATE)
        path = self.path(container)
        path.mkdir(mode=_PRIVATE)
        try:
            self._take_name(container)
            for name in ("upper", "work", "rootfs", "files"):
                (path / name).mkdir()
            write_atomically(path / "container.json", msgspec.json.encode(container))
        except BaseException:
            self._give_name_back(container)
            remove_tree(path)
            raise

    def _take_name(self, container: Container) -> None:
        link = self.folder / "names" / container.name
        try:
            link.symlink_to(container.id)
        except FileExistsError:
            owner = link.readlink().name
            if (self.folder / "containers" / owner).is_dir():
                raise NameTaken(
                    f"the name {container.name!r} is taken by container {owner[:12]}",
                    f"'hythe rm {container.name}' removes it; or choose another --name",
                ) from None
            link.unlink(missing_ok=True)  # left by a process that died while removing
            link.symlink_to(container.id)

    def _give_name_back(self, container: Container) -> None:
        link = self.folder / "names" / container.name
        with suppress(OSError):
            if link.readlink().name == container.id:
                link.unlink()

    def set_status(self, container: Container, status: ContainerStatus) -> None:
        """Record how the container stands."""
        write_atomically(self.path(container) / "status.json", msgspec.json.encode(status))

    def remove(self, container: Container) -> None:
        """Remove a container that does not run, with everything it wrote; raises StillRunning, NotRemoved."""
        with self.supervising(container):
            if self.has_process(container):
                raise StillRunning(
                    f"container {container.name} is running", f"'hythe rm -f {container.name}' stops it first"
                )
            self._give_name_back(container)
            # Renamed first: from here on nobody finds it, also when the removal is cut off.
            doomed = self.folder / "removed" / f"{container.id}-{secrets.token_hex(4)}"
            doomed.parent.mkdir(exist_ok=True, mode=_PRIVATE)
            self.path(container).rename(doomed)
        for leftover in doomed.parent.iterdir():
            if leftover != doomed:
                with suppress(NotRemoved):
                    remove_tree(leftover)
        remove_tree(doomed)

    # Supervision

    @contextmanager
    def supervising(self, container: Container) -> Iterator[None]:
        """Be the one process that looks after the container; raises StillRunning when another is, NoSuchContainer."""
        descriptor = self._open_lock(container)
        try:
            if not _lock_soon(descriptor, fcntl.LOCK_EX):
                raise StillRunning(f"container {container.name} is running", f"'hythe stop {container.name}' stops it")
            yield
        finally:
            os.close(descriptor)

    def is_supervised(self, container: Container) -> bool:
        """Whether a process looks after the container right now."""
        try:
            descriptor = self._open_lock(container)
        except NoSuchContainer:
            return False
        try:
            return not _lock_soon(descriptor, fcntl.LOCK_SH, attempts=1)
        finally:
            os.close(descriptor)

    def _open_lock(self, container: Container) -> int:
        try:
            return os.open(self.path(container) / "supervised", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            raise NoSuchContainer(f"no such container: {container.name}", "'hythe ps -a' lists them") from None


def _lock_soon(descriptor: int, kind: int, attempts: int = 5) -> bool:
    """Take the lock unless it stays taken: somebody who only looks holds it for a moment, too."""
    for attempt in range(attempts):
        if attempt:
            time.sleep(0.02)
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return True
    return False
