"""The file of a SQLite database, which must stay the one that was opened.

SQLite keeps using a file that was deleted or replaced, as by a careless restore: commits would be acknowledged, and
lost when the server ends. And a connection that is opened later would create an empty database in its place, for which
every blob is garbage.
"""

from pathlib import Path
from time import monotonic

from hythe.database.port import UnavailableError

LOOK_INTERVAL = 1.0
"""Seconds between two looks at the file by reads, which do not pay for one each."""


class WatchedFile:
    """The file at a path when this was created."""

    def __init__(self, path: Path) -> None:
        """The file must exist."""
        self._path = path
        self._identity = self._present()
        self._next = 0.0

    def require(self) -> None:
        """Return if the path still leads to the same file. Raises UnavailableError."""
        present = self._present()
        if present != self._identity:
            what = "deleted" if present is None else "replaced"
            raise UnavailableError(
                f"{self._path} was {what} while this server used it: stop the server; then put the file back, or "
                "restore it from a backup (docs/backup.md)",
                f"its file was {what}",
            )

    def require_recently(self) -> None:
        """Like ``require``, but look at the file once a LOOK_INTERVAL only."""
        now = monotonic()
        if now > self._next:
            self.require()
            self._next = now + LOOK_INTERVAL

    def _present(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UnavailableError(f"cannot use {self._path}: {error.strerror}") from error
        return found.st_dev, found.st_ino


def uri_of(path: Path) -> str:
    """Return the URI that opens an existing SQLite file for reading and writing, and creates none."""
    return f"{path.absolute().as_uri()}?mode=rw"
