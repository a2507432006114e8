"""The containers on disk, which several hythe processes can use at the same time.

FOLDER/containers/ID/container.json   the container's configuration
FOLDER/containers/ID/status.json      its status; replaced atomically
FOLDER/containers/ID/supervised       locked by the supervising process while the container runs
FOLDER/containers/ID/{upper,work}     the container's changes, as an overlay's upper folder
FOLDER/containers/ID/rootfs           mount point of the overlay, only visible to the supervising process
FOLDER/containers/ID/mountpoints      mount points of every container, as the lowest layer
FOLDER/containers/ID/files            hosts, hostname, resolv.conf
FOLDER/containers/ID/volumes/N        volumes that the image declares
FOLDER/containers/ID/log.jsonl        the container's output
FOLDER/containers/ID/config.json      the runtime's bundle
FOLDER/names/NAME -> ID               creating the link claims the name atomically
FOLDER/layers/..                      see ``layers``
FOLDER/volumes/NAME                   named volumes
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
"""The exit code of a container whose supervisor crashed, as in docker."""
_PRIVATE = 0o700


def default_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of the user's containers."""
    if chosen := environment.get("HYTHE_STATE"):
        return Path(chosen).absolute()
    data = environment.get("XDG_DATA_HOME") or Path(environment.get("HOME", "/root")) / ".local" / "share"
    return Path(data) / "hythe" / "containers"


class ContainerStore:
    """The user's containers on this machine."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or default_folder()

    def path(self, container: Container) -> Path:
        """Return the container's folder."""
        return self.folder / "containers" / container.id

    # Reading

    def all(self) -> tuple[Container, ...]:
        """Return all containers, newest first."""
        folder = self.folder / "containers"
        found = [self._read(path.name) for path in folder.iterdir()] if folder.is_dir() else []
        return tuple(sorted(filter(None, found), key=lambda container: container.created, reverse=True))

    def find(self, text: str) -> Container:
        """Find a container by name, ID or ID prefix; raises NoSuchContainer."""
        link = self.folder / "names" / text
        if "/" not in text and link.is_symlink():
            named = self._read(link.readlink().name)
            if named is not None:
                return named
        matching = [container for container in self.all() if text and container.id.startswith(text)]
        if len(matching) > 1:
            raise ContainerError(f"ambiguous container ID {text}: several containers match", "use a longer prefix")
        if not matching:
            raise NoSuchContainer(f"no such container: {text}", "'hythe ps -a' lists containers")
        return matching[0]

    def _read(self, container_id: str) -> Container | None:
        path = self.folder / "containers" / container_id / "container.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=Container)
        except (FileNotFoundError, NotADirectoryError):
            return None  # being created or removed

    def status(self, container: Container) -> ContainerStatus:
        """Return the container's status; LOST_EXIT_CODE if it exited without a supervisor."""
        status = self._read_status(container)
        if status.state is not ContainerState.RUNNING or is_alive(status.process, status.started_ticks):
            return status
        if self.is_supervised(container):
            return status
        return msgspec.structs.replace(
            status, state=ContainerState.EXITED, exit_code=LOST_EXIT_CODE, process=0, ports=()
        )

    def _read_status(self, container: Container) -> ContainerStatus:
        try:
            return msgspec.json.decode((self.path(container) / "status.json").read_bytes(), type=ContainerStatus)
        except FileNotFoundError:
            return ContainerStatus()

    def has_process(self, container: Container) -> bool:
        """Whether the container's process is running; for the supervisor, which holds the lock itself."""
        status = self._read_status(container)
        return status.state is ContainerState.RUNNING and is_alive(status.process, status.started_ticks)

    # Changing

    def add(self, container: Container) -> None:
        """Create a container's folder and claim its name; raises NameTaken."""
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
            self._release_name(container)
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
                    f"container name {container.name!r} is already in use by container {owner[:12]}",
                    f"remove it with 'hythe rm {container.name}', or choose another --name",
                ) from None
            link.unlink(missing_ok=True)  # left by an interrupted removal
            link.symlink_to(container.id)

    def _release_name(self, container: Container) -> None:
        link = self.folder / "names" / container.name
        with suppress(OSError):
            if link.readlink().name == container.id:
                link.unlink()

    def set_status(self, container: Container, status: ContainerStatus) -> None:
        """Record the container's status."""
        write_atomically(self.path(container) / "status.json", msgspec.json.encode(status))

    def remove(self, container: Container) -> None:
        """Remove a stopped container with all its data; raises StillRunning, NotRemoved."""
        with self.supervising(container):
            if self.has_process(container):
                raise StillRunning(
                    f"container {container.name} is running", f"'hythe rm -f {container.name}' stops it first"
                )
            self._release_name(container)
            # Rename first, so that the container no longer exists even if the removal is interrupted.
            removed = self.folder / "removed" / f"{container.id}-{secrets.token_hex(4)}"
            removed.parent.mkdir(exist_ok=True, mode=_PRIVATE)
            self.path(container).rename(removed)
        for leftover in removed.parent.iterdir():
            if leftover != removed:
                with suppress(NotRemoved):
                    remove_tree(leftover)
        remove_tree(removed)

    # Supervision

    @contextmanager
    def supervising(self, container: Container) -> Iterator[None]:
        """Be the container's only supervisor; raises StillRunning if there is another one, NoSuchContainer."""
        descriptor = self._open_lock(container)
        try:
            if not _try_lock(descriptor, fcntl.LOCK_EX):
                raise StillRunning(f"container {container.name} is running", f"'hythe stop {container.name}' stops it")
            yield
        finally:
            os.close(descriptor)

    def is_supervised(self, container: Container) -> bool:
        """Whether a process supervises the container."""
        try:
            descriptor = self._open_lock(container)
        except NoSuchContainer:
            return False
        try:
            return not _try_lock(descriptor, fcntl.LOCK_SH, attempts=1)
        finally:
            os.close(descriptor)

    def _open_lock(self, container: Container) -> int:
        try:
            return os.open(self.path(container) / "supervised", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            raise NoSuchContainer(f"no such container: {container.name}", "'hythe ps -a' lists containers") from None


def _try_lock(descriptor: int, kind: int, attempts: int = 5) -> bool:
    """Try to take the lock; retries, because ``is_supervised`` in another process holds it for a moment."""
    for attempt in range(attempts):
        if attempt:
            time.sleep(0.02)
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return True
    return False
