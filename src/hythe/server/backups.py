"""Backups, restores and moves of the installation that the settings name."""

from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from hythe.backup.backup import BackupTask, Verify
from hythe.backup.copy_blobs import LITTLE, BlobCopy
from hythe.backup.destinations import open_destination
from hythe.backup.errors import BackupError
from hythe.backup.migrate import move_rows
from hythe.backup.place import SCHEMES, open_place
from hythe.backup.progress import TaskProgress
from hythe.backup.pruning import Pruned
from hythe.backup.restore import RestoreTask
from hythe.backup.rows import ExclusiveDatabase, RowSource, TableContent
from hythe.backup.vault import BackupManifest, MissingBlob, chosen, make_vault, manifests_in, open_vault
from hythe.database import open_database
from hythe.database.sqlite import SQLITE_FILE
from hythe.hub.secret_box import KEY_FILE, SecretBox
from hythe.registry.installation import MOVED, Kind, find_installation
from hythe.registry.storage import open_blob_store
from hythe.registry.storage.disk import disk_errors, write_file
from hythe.registry.storage.port import BlobStore
from hythe.server.installation import open_stores
from hythe.settings import Settings


@dataclass(frozen=True, slots=True)
class Installation:
    """An installation on this machine: its settings and kind."""

    settings: Settings
    kind: Kind


@dataclass(frozen=True, slots=True)
class BackupPlan:
    """Where a backup goes, and how; ``passphrase`` None: not encrypted; ``keep`` 0: all older ones stay."""

    place: str
    passphrase: bytes | None = None
    verify: Verify = "new"
    keep: int = 0


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """Which backup is restored; ``name`` None: the newest one. See RestoreTask.check for ``existing_blobs``."""

    place: str
    passphrase: bytes | None = None
    name: str | None = None
    existing_blobs: bool = False
    without_secret_key: bool = False


async def back_up(
    installation: Installation, plan: BackupPlan, progress: TaskProgress
) -> tuple[BackupManifest, Pruned | None]:
    """Make a backup while the installation serves. Raises the errors of BackupTask.run and ``open_stores``."""
    settings = installation.settings
    async with AsyncExitStack() as stack:
        stores = await stack.enter_async_context(open_stores(settings, installation.kind, pace=True))
        place = open_place(plan.place)
        stack.push_async_callback(place.close)
        row = await find_installation(stores.database)
        vault = await make_vault(place, row.id, plan.passphrase)
        task = BackupTask(stores.database, stores.blobs, vault, progress, plan.verify)
        secret_key = _secret_key(installation) if vault.encrypted else None
        manifest = await task.run(lambda: _snapshot(settings), version("hythe"), secret_key, plan.keep)
        return manifest, task.pruned


async def backups_in(text: str) -> list[BackupManifest]:
    """Return the backups in a place, oldest first."""
    place = open_place(text)
    try:
        return await manifests_in(place)
    finally:
        await place.close()


async def restore(
    installation: Installation, plan: RestorePlan, progress: TaskProgress
) -> tuple[BackupManifest, list[MissingBlob]]:
    """Restore a backup into the empty installation that the settings name; return it, and what is missing in it.

    Raises BackupError, SecretBoxError and the errors of the stores.
    """
    settings = installation.settings
    with disk_errors(settings.data_folder):
        settings.data_folder.mkdir(0o700, parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        place = open_place(plan.place)
        stack.push_async_callback(place.close)
        vault = await open_vault(place, plan.passphrase)
        manifest = chosen(await vault.manifests(), plan.name)
        if manifest.kind != installation.kind.value:
            raise BackupError(
                f"this is the backup of a {Kind(manifest.kind).title}, not of a {installation.kind.title}",
                f"use 'hythe {Kind(manifest.kind).verb} restore-backup'",
            )
        blobs = open_blob_store(settings.data_folder, settings.blob_store)
        stack.push_async_callback(blobs.close)
        destination = open_destination(settings.data_folder, settings.database_url)
        task = RestoreTask(vault, manifest, progress)
        await task.check(destination, blobs, existing_blobs=plan.existing_blobs)
        if manifest.key_fingerprint is not None and not plan.without_secret_key:
            _require_secret_key(settings, manifest.key_fingerprint, await task.secret_key())
        return manifest, await task.run(destination, blobs)


async def migrate(installation: Installation, to: str, progress: TaskProgress) -> tuple[TableContent, ...]:
    """Move the database to ``to``: a URL of PostgreSQL, or ``sqlite`` for the data folder. Raises BackupError."""
    settings, kind = installation.settings, installation.kind
    url = "" if to == "sqlite" else to
    if url == settings.database_url:
        raise BackupError("the database is there already", "use the URL of another database, or sqlite")
    await _require_kind(installation)
    destination = open_destination(settings.data_folder, url)
    async with _exclusive(settings) as source:
        return await move_rows(source.rows, destination, kind.value, lambda: source.set_kind(MOVED), progress)


async def _require_kind(installation: Installation) -> None:
    """Upgrade SQLite's schema, and check that this is an installation of this kind. Raises BackupError.

    A database that was moved passes, because the move may have been interrupted; a target in use is refused later.
    """
    database = await open_database(installation.settings.data_folder, installation.settings.database_url)
    try:
        row = await find_installation(database)
    finally:
        await database.close()
    if row.kind not in (installation.kind.value, MOVED):
        raise BackupError(
            f"this is not the database of a {installation.kind.title}", "correct --data or --database-url"
        )


@dataclass(frozen=True, slots=True)
class CopiedBlobs:
    """What a copy of blobs did: blobs of its last round, and recorded ones that could not be copied."""

    left: int
    missing: list[MissingBlob]


async def copy_blobs(installation: Installation, to: str, progress: TaskProgress, *, finish: bool) -> CopiedBlobs:
    """Copy all blobs to another store: a bucket's URL, or a data folder; with ``finish`` let the database name it.

    Raises BackupError and the errors of the stores.
    """
    settings = installation.settings
    if to == settings.blob_store or (
        not settings.blob_store and Path(to).expanduser().absolute() == settings.data_folder
    ):
        raise BackupError("the blobs are there already", "use another bucket, prefix or folder")
    async with AsyncExitStack() as stack:
        target = _open_store(to)
        stack.push_async_callback(target.close)
        if not finish:
            stores = await stack.enter_async_context(open_stores(settings, installation.kind, pace=True))
            copy = BlobCopy(stores.database, stores.blobs, target, progress)
            await copy.begin()
            while await copy.round() > LITTLE:
                pass
            return CopiedBlobs(0, copy.missing)
        return await _finish_copy(installation, target, progress)


async def _finish_copy(installation: Installation, target: BlobStore, progress: TaskProgress) -> CopiedBlobs:
    settings = installation.settings
    async with AsyncExitStack() as stack:
        source = open_blob_store(settings.data_folder, settings.blob_store)
        stack.push_async_callback(source.close)
        database = await open_database(settings.data_folder, settings.database_url)
        copy = BlobCopy(database, source, target, progress)
        try:
            await copy.begin()
            await copy.require_source()
        finally:
            await database.close()
        async with _exclusive(settings) as exclusive:
            await exclusive.set_blob_store(await copy.final_marker())
        # From now on no server starts with either store.
        database = await open_database(settings.data_folder, settings.database_url)
        stack.push_async_callback(database.close)
        copy = BlobCopy(database, source, target, progress)
        await copy.begin()
        count = await copy.round()
        if not copy.missing:
            await copy.complete()
        return CopiedBlobs(count, copy.missing)


def _open_store(text: str) -> BlobStore:
    if text.startswith(SCHEMES):
        return open_blob_store(Path(), text)
    return open_blob_store(Path(text).expanduser().absolute())


def _snapshot(settings: Settings) -> AbstractAsyncContextManager[RowSource]:
    if settings.database_url:
        from hythe.backup.sql.postgresql import postgresql_snapshot

        return postgresql_snapshot(settings.database_url)
    from hythe.backup.sql.sqlite import sqlite_snapshot

    return sqlite_snapshot(settings.data_folder / SQLITE_FILE)


def _exclusive(settings: Settings) -> AbstractAsyncContextManager[ExclusiveDatabase]:
    if settings.database_url:
        from hythe.backup.sql.postgresql import postgresql_exclusive

        return postgresql_exclusive(settings.database_url)
    from hythe.backup.sql.sqlite import sqlite_exclusive

    return sqlite_exclusive(settings.data_folder / SQLITE_FILE)


def _secret_key(installation: Installation) -> bytes | None:
    """Return the key that seals secrets, as it is in its file. Raises SecretBoxError if it is missing."""
    if installation.kind is not Kind.HUB:
        return None
    settings = installation.settings
    if settings.secret_key:
        return settings.secret_key.encode()
    SecretBox.open(settings.data_folder, create=False)
    with disk_errors(settings.data_folder):
        return (settings.data_folder / KEY_FILE).read_bytes()


def _require_secret_key(settings: Settings, fingerprint: str, from_backup: bytes | None) -> None:
    """Write the key of the backup unless there is one, and compare its fingerprint. Raises BackupError."""
    path = settings.data_folder / KEY_FILE
    if not settings.secret_key and not path.exists():
        if from_backup is None:
            raise BackupError(
                "the key that seals secrets is not in the backup",
                f"copy secret.key of the installation to {path}, or set secret_key; if it is lost, add "
                "--without-secret-key and see docs/backup.md",
            )
        with disk_errors(path):
            write_file(path, from_backup, replace=False)
    if SecretBox.open(settings.data_folder, settings.secret_key, create=False).fingerprint != fingerprint:
        raise BackupError(
            "secret_key, or the file secret.key, is another key than that of the backup",
            f"move {path} away, or correct secret_key",
        )
