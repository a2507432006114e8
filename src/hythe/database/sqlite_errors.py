"""Explains the errors of SQLite that a retry, the operator or a backup has to solve: the disk, the path, what to do."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from hythe.database.port import UnavailableError

FULL = 1024 * 1024
"""Bytes of free space below which errors that have no reason are explained by a full disk."""

DISK_IS_FULL = "its disk is full"

_ABOUT_THE_DISK = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)

_REASONS = {
    sqlite3.SQLITE_FULL: "the disk of {path} is full: free space on it",
    sqlite3.SQLITE_IOERR: "the disk of {path} cannot be read or written: look for disk errors in the system's log",
    sqlite3.SQLITE_CANTOPEN: "cannot open {path}: make the user that runs hythe the owner of its folder",
    sqlite3.SQLITE_READONLY: "{path} cannot be written: make the user that runs hythe its owner, and its disk writable",
    sqlite3.SQLITE_PERM: "{path} cannot be written: make the user that runs hythe its owner, and its disk writable",
    sqlite3.SQLITE_BUSY: "another process has been writing to {path} for too long",
    sqlite3.SQLITE_CORRUPT: "{path} is damaged: restore it from a backup (docs/operating.md)",
    sqlite3.SQLITE_NOTADB: "{path} is no SQLite database: restore it from a backup (docs/operating.md)",
}
"""What happened and what to do, by SQLite's primary result code."""

_OURS = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, sqlite3.NotSupportedError)
"""Errors of statements and values."""


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turn errors of the database file at ``path`` into UnavailableError."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        original = error.orig if isinstance(error, DBAPIError) else error
        if not isinstance(original, sqlite3.DatabaseError) or isinstance(original, _OURS):
            raise
        raise explained(original, path) from error


def explained(error: sqlite3.Error, path: Path) -> UnavailableError:
    """Return the error that says what is wrong with the database file at ``path``."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _ABOUT_THE_DISK and _is_full(path.parent):
        code = sqlite3.SQLITE_FULL
    reason = _REASONS.get(code, "cannot use {path}").format(path=path)
    return UnavailableError(f"{reason} ({error})", DISK_IS_FULL if code == sqlite3.SQLITE_FULL else "")


def _is_full(folder: Path) -> bool:
    try:
        found = os.statvfs(folder)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize < FULL or (found.f_files > 0 and found.f_favail == 0)
