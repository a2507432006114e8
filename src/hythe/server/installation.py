"""Opens the database and the blob store of the settings, if they belong together."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from hythe.database import Database, open_database
from hythe.database.opening import sqlite_in_use
from hythe.database.pacing import paced
from hythe.database.sqlite import SQLITE_FILE
from hythe.registry.installation import (
    Kind,
    WrongInstallation,
    adopt_blob_store,
    has_content,
    is_new,
    join_installation,
)
from hythe.registry.storage import open_blob_store
from hythe.registry.storage.disk import disk_errors
from hythe.registry.storage.port import BlobStore
from hythe.server.tracing import traced_blobs
from hythe.settings import Settings

ENTRY_LIFETIME = 60.0
"""Seconds for which a server remembers where an object store has a blob; see ``EntryCache``."""


@dataclass(frozen=True, slots=True)
class Stores:
    """The open database and blob store."""

    database: Database
    blobs: BlobStore


@asynccontextmanager
async def open_stores(
    settings: Settings, kind: Kind, *, use_blobs: bool = True, pace: bool = False
) -> AsyncIterator[Stores]:
    """Open both until the block ends; record that they belong together if this is their first start.

    Without ``use_blobs``, the settings may lack that of the blob store. With ``pace``, a server that runs on the same
    database can write between any two transactions.

    Raises SchemaError, UnavailableError, StorageUnavailable and WrongInstallation.
    """
    async with _opened(settings) as stores:
        if settings.database_url and await is_new(stores.database) and sqlite_in_use(settings.data_folder):
            raise WrongInstallation(
                f"the database at database_url is empty, but {settings.data_folder} has a SQLite database in use",
                f"move it with 'hythe {kind.verb} migrate --to URL', or start without database_url; to "
                "start with an empty database, move hythe.db away and use an empty blob store",
            )
        await join_installation(stores.database, stores.blobs, kind, use_blobs=use_blobs)
        yield Stores(paced(stores.database), stores.blobs) if pace else stores


async def adopt_blobs(settings: Settings, kind: Kind) -> None:
    """Record that the database and the blob store of the settings belong together, whatever they contain.

    Raises the errors of ``open_stores``.
    """
    async with _opened(settings, adopt=True) as stores:
        await adopt_blob_store(stores.database, stores.blobs, kind)


@asynccontextmanager
async def _opened(settings: Settings, *, adopt: bool = False) -> AsyncIterator[Stores]:
    with disk_errors(settings.data_folder):
        # Also with PostgreSQL and an object store: the key is in this folder.
        settings.data_folder.mkdir(0o700, parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        blobs = open_blob_store(
            settings.data_folder,
            settings.blob_store,
            redirect=settings.redirect_blobs,
            entry_lifetime=min(ENTRY_LIFETIME, settings.grace_period / 2),
        )
        stack.push_async_callback(blobs.close)
        if not settings.database_url and not adopt:
            await _require_no_blobs_without_database(settings, blobs)
        database = await open_database(settings.data_folder, settings.database_url)
        stack.push_async_callback(database.close)
        yield Stores(database, traced_blobs(blobs))


async def _require_no_blobs_without_database(settings: Settings, blobs: BlobStore) -> None:
    """Raise WrongInstallation before SQLite creates a database: a restored file must not meet one."""
    data = settings.data_folder
    # The second look is for another process that creates the database at this moment.
    if not sqlite_in_use(data) and await has_content(blobs) and not sqlite_in_use(data):
        raise WrongInstallation(
            f"{data} has no database, or an empty one, but there are blobs in {settings.blob_store or data / 'blobs'}",
            f"correct --data, or set database_url, or restore {SQLITE_FILE} from a backup; to start with an empty "
            "database, move the blobs away",
        )
