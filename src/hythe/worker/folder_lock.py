"""The lock of a worker's folder: a worker that starts removes what it finds there, so there is one at a time."""

import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from hythe.client.file_lock import locked_if_free

LOCK_FILE = "worker.lock"
"""The file in the worker's folder."""

RETRY_INTERVAL = 1.0
"""Seconds between two attempts of a worker that waits for the end of another one."""


class FolderInUse(Exception):
    """Another worker uses the folder; ``hint`` says what to do."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"another worker uses {folder}")
        self.hint = "stop it first, or use another --builds-folder; --concurrency runs several builds in one worker"


@contextmanager
def folder_locked(folder: Path, report: Callable[[str], None], *, wait: bool) -> Iterator[bool]:
    """Hold the lock of a folder, which is created if it does not exist, until the block ends.

    With ``wait``, wait for the end of another worker; yields False if standard input ended before. Raises FolderInUse
    without ``wait``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as lock:
        reported = False
        while not lock.enter_context(locked_if_free(folder / LOCK_FILE)):
            lock.close()
            if not wait:
                raise FolderInUse(folder)
            if not reported:
                report(f"another worker uses {folder}: this one waits for its end")
                reported = True
            if _input_ended(RETRY_INTERVAL):
                yield False
                return
        yield True


def _input_ended(seconds: float) -> bool:
    """Return whether standard input ends within some seconds."""
    readable, _, _ = select.select([sys.stdin.fileno()], [], [], seconds)
    return bool(readable) and not os.read(sys.stdin.fileno(), 65536)
