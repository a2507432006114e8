"""The lock of a data folder, so that a server that was started twice by mistake says so.

A data folder with a SQLite database has one server: two of them would each believe to be alone in limits that a server
counts itself, and collect garbage and send mail twice. Several servers may share a folder if the database is
PostgreSQL, which coordinates them. The kernel releases the lock with the last process that holds it, however that ends.
Verbs of ``hythe admin`` and ``hythe registry`` take no lock: they may run while a server does.
"""

import fcntl
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from hythe.registry.installation import Kind
from hythe.registry.storage.disk import disk_errors

LOCK_FILE = "serve.lock"
"""The file in the data folder; it stays there, and says who held the lock last."""

_LARGEST_NOTE = 1000

log = logging.getLogger(__name__)


class DataInUse(Exception):
    """Another server uses the data folder; ``hint`` says what to do."""

    def __init__(self, data: Path, holder: str) -> None:
        super().__init__(f"another server uses {data}: {holder}")
        self.hint = (
            "stop it first, or use another --data; several servers of one hub have a data folder each, and share "
            "database_url and blob_store; to use more cores, set processes"
        )


@contextmanager
def data_locked(data: Path, kind: Kind, *, shared: bool) -> Iterator[None]:
    """Hold the lock of a data folder, which is created if it does not exist, until the block ends.

    With ``shared``, other servers may hold it that share it, too. Processes forked inside the block hold it as well.
    Raises DataInUse and StorageUnavailable.
    """
    with disk_errors(data):
        data.mkdir(0o700, parents=True, exist_ok=True)
        descriptor = os.open(data / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(descriptor, data, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        with suppress(OSError):  # a server can serve from a full disk
            _write_note(descriptor, kind)
        yield
    finally:
        os.close(descriptor)  # which releases the lock unless a forked process still has it


def _lock(descriptor: int, data: Path, operation: int) -> None:
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DataInUse(data, _holder(os.pread(descriptor, _LARGEST_NOTE, 0))) from None
    except OSError as error:  # a file system without locks; it cannot hold SQLite's database either
        log.warning("%s cannot be locked, so a second server is not refused: %s", data, error.strerror)


def _write_note(descriptor: int, kind: Kind) -> None:
    note = {"pid": os.getpid(), "since": datetime.now(UTC).isoformat(timespec="seconds"), "kind": kind.value}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(note).encode() + b"\n", 0)


def _holder(note: bytes) -> str:
    """Return who wrote the note: a damaged one, or one that is being written, says nothing."""
    try:
        content = json.loads(note)
        pid, since, kind = int(content["pid"]), datetime.fromisoformat(content["since"]), Kind(content["kind"])
    except (ValueError, KeyError, TypeError):
        return "it has just started"
    return f"a {kind.title}, process {pid}, since {since:%Y-%m-%d %H:%M:%S} UTC"
