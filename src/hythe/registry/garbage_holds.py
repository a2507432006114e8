"""Holds off garbage collection while a backup copies blobs: a lease that ends by itself if the backup dies.

Its beginning waits for transactions that doom blobs. So a snapshot of the database that is read afterwards refers to no
blob whose bytes are deleted before the hold ends: neither before the snapshot nor, whatever is deleted, after it.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta

from hythe.database import Database, UnavailableError
from hythe.registry.clock import Clock, now
from hythe.registry.sql import garbage_holds as store
from hythe.registry.sql.garbage_holds import GarbageHold

HOLD_LIFETIME = timedelta(minutes=10)
"""After this time without a renewal, garbage collection continues."""

RENEWAL_SECONDS = 60.0

log = logging.getLogger(__name__)


class GarbageHeld(Exception):
    """Another hold is valid."""

    def __init__(self, hold: GarbageHold) -> None:
        super().__init__(f"{hold.reason} is running since {hold.taken_at:%Y-%m-%d %H:%M} UTC")
        self.hint = f"wait for its end; if it was killed, it counts until {hold.expires_at:%H:%M} UTC"


class HoldLost(Exception):
    """The hold expired, because the database did not respond for too long: blobs may have been deleted."""

    def __init__(self) -> None:
        super().__init__("the database did not respond for so long that garbage collection may have run")
        self.hint = "run the same command again: it continues where it stopped"


async def garbage_is_held(database: Database, at: datetime) -> bool:
    """Return whether a hold is valid, and log why."""
    async with database.reading() as session:
        hold = await store.valid(session, at)
    if hold is not None:
        log.info("garbage collection deletes no blobs: %s is running", hold.reason)
    return hold is not None


@asynccontextmanager
async def hold_garbage(database: Database, reason: str, clock: Clock = now) -> AsyncIterator[None]:
    """Keep every server from deleting blobs until the block ends. Raises GarbageHeld, HoldLost, UnavailableError.

    HoldLost cancels the block.
    """
    began = clock()
    hold = GarbageHold(secrets.token_hex(16), reason, began, began + HOLD_LIFETIME)
    async with database.writing() as session:
        other = await store.add(session, hold)
    if other is not None:
        raise GarbageHeld(other)
    try:
        async with asyncio.TaskGroup() as tasks:
            renewal = tasks.create_task(_renew(database, hold, clock))
            yield
            renewal.cancel()
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from group
    finally:
        with suppress(UnavailableError):
            async with database.writing() as session:
                await store.remove(session, hold.id)


async def _renew(database: Database, hold: GarbageHold, clock: Clock) -> None:
    expires = hold.expires_at
    while True:
        await asyncio.sleep(RENEWAL_SECONDS)
        moment = clock()
        try:
            async with database.writing() as session:
                extended = await store.extend(session, hold.id, moment, moment + HOLD_LIFETIME)
        except UnavailableError:
            extended = moment < expires
        else:
            expires = moment + HOLD_LIFETIME
        if not extended:
            raise HoldLost
