"""The installation: a database, the blob store that belongs to it, and the servers that share both.

The first start writes a row with a random id into the database, and a marker with that id into the blob store. Every
later start compares the two. So a server refuses to start with the wrong database or blob store (a mistyped setting, a
disk that is not mounted, an incomplete restore), where it would show an empty hub or report every image as damaged.
Garbage collection compares them, too, before it deletes bytes that the database does not know.

Databases and blob stores of older versions have no row and no marker: the first start writes them if the blob store has
what the database has recorded.
"""

import asyncio
import logging
import secrets
from datetime import UTC, datetime
from enum import Enum

from hythe.database import Database
from hythe.oci.digest import Digest
from hythe.registry.sql import installation as store
from hythe.registry.sql.installation import InstallationRow
from hythe.registry.storage.port import BlobStore
from hythe.settings import SettingsError

COPYING = "copying"
"""The kind of an installation whose database is not complete yet: a restore or move fills it."""

MOVED = "moved"
"""The kind of an installation whose database was moved to another one."""

UNFINISHED_MARKERS = {
    "copying": "stop all servers and run copy-blobs with --finish, or start with the blob store that was used before",
    "restoring": "run the restore again to its end",
}
"""First words of markers in blob stores that no server can use yet, and what to do."""

SAMPLE_SIZE = 16
"""Recorded blobs to look for in a blob store without a marker; half of them must be there."""


log = logging.getLogger(__name__)


class Kind(Enum):
    """What an installation is."""

    HUB = "hub"
    REGISTRY = "registry"

    @property
    def title(self) -> str:
        """The words for it."""
        return "hub" if self is Kind.HUB else "private registry"

    @property
    def verb(self) -> str:
        """The verb of ``hythe`` with commands for it."""
        return "admin" if self is Kind.HUB else "registry"


class WrongInstallation(SettingsError):
    """The database, the blob store or the key belong to different installations; ``hint`` says what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


async def join_installation(database: Database, blobs: BlobStore, kind: Kind, *, use_blobs: bool = True) -> None:
    """Check that database and blob store belong together, or record that they do at their first start.

    Without ``use_blobs``, ``blobs`` may be another store: only the database is checked. Raises WrongInstallation.
    """
    row = await _find(database)
    if row is None:
        # Another server that starts at the same time may have written row and marker since.
        if await has_content(blobs) and await _find(database) is None:
            raise _unknown_blobs(kind)
        row = await _create(database, kind)
    row = await _with_kind(database, row, kind)
    if use_blobs:
        await _check_blob_store(database, blobs, row, kind)


async def adopt_blob_store(database: Database, blobs: BlobStore, kind: Kind) -> None:
    """Record that database and blob store belong together, whatever they contain.

    Raises WrongInstallation if the database is that of another kind.
    """
    row = await _with_kind(database, await _find(database) or await _create(database, kind), kind)
    marker = _new_marker(row)
    await blobs.set_marker(marker, replace=True)
    async with database.writing() as session:
        await store.set_blob_store(session, marker, row.blob_store)


async def require_own_blob_store(database: Database, blobs: BlobStore) -> None:
    """Return if the blob store still belongs to the database: a disk may have been unmounted or replaced.

    Raises WrongInstallation.
    """
    row = await _find(database)
    if row is None or row.blob_store is None or row.kind is None:
        return
    if row.kind in (COPYING, MOVED):
        raise _not_in_use(row.kind)
    if await blobs.marker() != row.blob_store:
        raise _other_store(Kind(row.kind), await blobs.marker())


async def report_missing_blobs(database: Database, blobs: BlobStore) -> None:
    """Log a warning if blobs are missing, as after the restore of a database that is newer than the blobs.

    Looks for a few at random, so it finds a large gap, and costs the same for any number of blobs.
    """
    digests, missing = await _missing(database, blobs)
    if missing:
        log.warning(
            "%d of %d blobs that were looked up are missing in the blob store: restore them from a backup, and run "
            "verify, which lists all",
            len(missing),
            len(digests),
        )


async def find_installation(database: Database) -> InstallationRow:
    """Return the installation's row. Raises LookupError if nothing has used this database yet."""
    row = await _find(database)
    if row is None:
        raise LookupError("the database has no installation")
    return row


async def is_new(database: Database) -> bool:
    """Return whether nothing has used this database yet."""
    return await _find(database) is None


async def has_content(blobs: BlobStore) -> bool:
    """Return whether a blob store has a marker or blobs."""
    return await blobs.marker() is not None or not await blobs.is_empty()


async def _find(database: Database) -> InstallationRow | None:
    async with database.reading() as session:
        return await store.find(session)


async def _create(database: Database, kind: Kind) -> InstallationRow:
    async with database.writing() as session:
        await store.add(session, secrets.token_hex(16), kind.value, datetime.now(UTC))
        row = await store.find(session)
    if row is None:
        raise LookupError("the installation's row does not exist after it was added")
    return row


async def _with_kind(database: Database, row: InstallationRow, kind: Kind) -> InstallationRow:
    """Return the row with its kind, which the first start after an upgrade sets. Raises WrongInstallation."""
    if row.kind is None:
        async with database.writing() as session:
            await store.set_kind(session, kind.value)
            row = await store.find(session) or row
    if row.kind in (COPYING, MOVED):
        raise _not_in_use(row.kind)
    if row.kind != kind.value:
        raise _other_kind(kind, Kind(row.kind))
    return row


def _new_marker(row: InstallationRow) -> str:
    return f"{row.id}/{secrets.token_hex(16)}"


async def _check_blob_store(database: Database, blobs: BlobStore, row: InstallationRow, kind: Kind) -> None:
    marker = await blobs.marker()
    if marker is not None and marker == row.blob_store:
        return
    if marker is not None and (row.blob_store is not None or not marker.startswith(f"{row.id}/")):
        raise _other_store(kind, marker, row)
    if marker is None:
        await _require_recorded_blobs(database, blobs, row, kind)
        await blobs.set_marker(row.blob_store or _new_marker(row), replace=False)
        marker = await blobs.marker()
    async with database.writing() as session:
        await store.set_blob_store(session, str(marker))
        present = await store.find(session)
    if present is None or present.blob_store != marker:
        # Another server that started at the same time marked another blob store.
        raise _other_store(kind, marker)


async def _require_recorded_blobs(database: Database, blobs: BlobStore, row: InstallationRow, kind: Kind) -> None:
    """Return if a blob store without a marker has what the database has recorded. Raises WrongInstallation."""
    digests, missing = await _missing(database, blobs)
    if len(missing) * 2 > len(digests):
        found = len(digests) - len(missing)
        raise WrongInstallation(
            f"the blob store has {found} of {len(digests)} blobs that were looked up in the database",
            f"correct blob_store or --data, mount the disk, or restore the blobs from a backup; {_adopt(kind)}",
        )
    if not digests and row.blob_store is not None:
        raise _other_store(kind, None)
    if not digests and not await blobs.is_empty():
        raise _unknown_blobs(kind)


async def _missing(database: Database, blobs: BlobStore) -> tuple[list[str], list[str]]:
    """Return recorded blobs at random, and which of them the blob store lacks."""
    digests = await _sample(database)
    stored = await asyncio.gather(*(blobs.stat(Digest.parse(digest)) for digest in digests))
    return digests, [digest for digest, found in zip(digests, stored, strict=True) if found is None]


async def _sample(database: Database) -> list[str]:
    """Return recorded blobs at random, found by the index of digests; all of them if they are few."""
    async with database.reading() as session:
        few = await store.blobs_after(session, "", SAMPLE_SIZE)
        if len(few) < SAMPLE_SIZE:
            return few
        starts = [f"sha256:{secrets.token_hex(2)}" for _ in range(SAMPLE_SIZE - 1)]
        found = [digest for start in starts for digest in await store.blobs_after(session, start, 1)]
    return sorted({few[0], *found})


def _adopt(kind: Kind) -> str:
    return f"to use this blob store anyway, run 'hythe {kind.verb} adopt-blobs'"


def _unknown_blobs(kind: Kind) -> WrongInstallation:
    return WrongInstallation(
        "the database is empty, but the blob store has blobs",
        f"correct --data, --database-url or blob_store, or restore the database from a backup; {_adopt(kind)}",
    )


def _other_store(kind: Kind, marker: str | None, row: InstallationRow | None = None) -> WrongInstallation:
    work = (marker or "").partition(" ")[0]
    if work in UNFINISHED_MARKERS:
        return WrongInstallation(
            f"the blob store does not have all blobs yet: {work} was not finished", UNFINISHED_MARKERS[work]
        )
    if marker is not None and row is not None and marker.startswith(f"{row.id}/"):
        return WrongInstallation(
            "the database names another blob store than this one, which has an older copy of its blobs",
            f"set blob_store to where 'copy-blobs' copied them, or correct --data or --database-url; {_adopt(kind)}",
        )
    state = "belongs to another installation" if marker else "is another one than this database's: it has no marker"
    return WrongInstallation(
        f"the blob store {state}",
        f"correct blob_store, --data or --database-url, mount the disk, or restore the blobs; {_adopt(kind)}",
    )


def _not_in_use(state: str) -> WrongInstallation:
    if state == MOVED:
        return WrongInstallation(
            "this database was moved to another one", "set database_url, or --data, to where 'migrate' moved it"
        )
    return WrongInstallation(
        "the database is not complete: a restore or migration was interrupted", "run the same command to its end"
    )


def _other_kind(kind: Kind, found: Kind) -> WrongInstallation:
    command = "hythe serve" if found is Kind.HUB else "hythe registry serve"
    return WrongInstallation(
        f"this is the database of a {found.title}, not of a {kind.title}",
        f"use '{command}', or another --data or --database-url",
    )
