"""Garbage collection for administrators: what the last runs freed, what is due now, and the start of a run."""

from collections.abc import Callable
from datetime import datetime

import msgspec

from hythe.database import Database
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.actor import HubActor
from hythe.hub.logs import audit
from hythe.hub.page import Page, Paging
from hythe.hub.sql import garbage as store
from hythe.registry.garbage_collection import GarbageCollection
from hythe.registry.sql import garbage_collection as registry_store
from hythe.registry.sql.garbage_collection import DueNow, GarbageRun


class GarbageState(msgspec.Struct, frozen=True):
    """The state of garbage collection.

    ``due`` is what the next run examines. ``waiting`` manifests and blobs are marked, with those that are due; the
    first of them is due at ``next_due``. ``running_since`` is when the run of this server began; null: none runs here.
    """

    due: DueNow
    waiting: int
    next_due: datetime | None
    running_since: datetime | None


class GarbageService:
    """Garbage collection. Every call raises SignInNeeded or Refused unless an administrator calls."""

    def __init__(
        self, database: Database, access: HubAccess, collection: GarbageCollection, clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._access = access
        self._collection = collection
        self._clock = clock

    async def state(self, actor: HubActor) -> GarbageState:
        """Return what is due, and whether a run is on."""
        await self._access.require_hub(actor, HubAction.VIEW_GARBAGE)
        async with self._database.reading() as session:
            due = await registry_store.due_now(session, self._clock())
            waiting, next_due = await registry_store.waiting(session)
        return GarbageState(due, waiting, next_due, self._collection.running_since)

    async def runs(self, actor: HubActor, paging: Paging) -> Page[GarbageRun]:
        """Return the last runs, newest first. Of those that found nothing only the newest is kept. Raises Invalid."""
        await self._access.require_hub(actor, HubAction.VIEW_GARBAGE)
        async with self._database.reading() as session:
            return await store.listed(session, paging)

    async def start(self, actor: HubActor) -> None:
        """Let this server begin a run now, or right after the present one, in the background.

        Like its periodic runs, it works in small steps between which others write.
        """
        await self._access.require_hub(actor, HubAction.COLLECT_GARBAGE)
        async with self._database.writing() as session:
            await audit.record(session, actor, HubAction.COLLECT_GARBAGE, "garbage", at=self._clock())
        self._collection.request(actor.name)
