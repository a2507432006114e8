"""Plain calls on the disk: in threads, what can go wrong as one sentence, and folders that last."""

import asyncio
import errno
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ParamSpec, TypeVar

from hythe.registry.storage.port import StorageUnavailable

_P = ParamSpec("_P")
_T = TypeVar("_T")

_REASONS = {
    errno.ENOSPC: "the disk is full: free some space, or collect the garbage",
    errno.EDQUOT: "the disk quota is used up: free some space, or raise it",
    errno.EROFS: "the disk is read-only: mount it for writing, and look for disk errors in the system's log",
    errno.EACCES: "no permission: give the data folder to the user that runs hythe",
    errno.EPERM: "no permission: give the data folder to the user that runs hythe",
    errno.EIO: "the disk cannot read or write: look for disk errors in the system's log",
    errno.ENOENT: "the folder is gone: is its disk mounted?",
    errno.ENOTDIR: "the folder is gone: is its disk mounted?",
    errno.ENODEV: "the disk is gone: is it mounted?",
    errno.ESTALE: "the network disk is gone: is it mounted?",
    errno.EMFILE: "too many open files: raise the limit (ulimit -n)",
    errno.ENFILE: "too many open files: raise the system's limit (fs.file-max)",
}


@contextmanager
def disk_errors(place: Path) -> Iterator[None]:
    """Turn an OSError inside into StorageUnavailable that names ``place`` and says what to do."""
    try:
        yield
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
        raise StorageUnavailable(f"{place}: {reason}", reason.partition(":")[0]) from error


class DiskThreads:
    """Runs what blocks on the disk. An OSError becomes StorageUnavailable."""

    def __init__(self, place: Path, threads: int) -> None:
        self._place = place
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="blobs")

    async def run(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Return what ``call`` returns; see ``completed``."""
        return await completed(self.start(call, *args, **kwargs))

    def start(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> asyncio.Future[_T]:
        """Begin ``call`` and return at once."""
        return asyncio.get_running_loop().run_in_executor(self._pool, lambda: self._translated(call, *args, **kwargs))

    def _translated(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        with disk_errors(self._place):
            return call(*args, **kwargs)

    def close(self) -> None:
        """Wait for the calls that run, and let go of the threads."""
        self._pool.shutdown()


async def completed(running: asyncio.Future[_T]) -> _T:
    """Return what a call in a thread returns.

    Somebody who is cancelled still waits for its end: until then it has a file in hand, whose number may not be given
    away to another one.
    """
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([running])
        raise


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` survive a power cut. Blocks; raises OSError.

    Calls from several threads at once share what the file system writes: one by one 900 small blobs a second were
    synced, by 8 threads 8,000. Gathering folders to sync them in one go gained nothing over that.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make one folder, if it is not there, so that it survives a power cut. Its parent must be there.

    It is for this user alone: images may be private, to other users of the machine, too.
    """
    try:
        folder.mkdir(0o700)
    except FileExistsError:
        return
    sync_folder(folder.parent)
