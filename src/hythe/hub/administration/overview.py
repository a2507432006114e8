"""The hub in numbers, for administrators."""

from collections.abc import Callable
from datetime import datetime

from hythe.database import Database
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.actor import HubActor
from hythe.hub.sql import overview as store
from hythe.hub.sql.overview import HubOverview

SECONDS = 10.0
"""Time limit: all accounts and namespaces are counted."""


class OverviewService:
    """Counts what the hub has."""

    def __init__(self, database: Database, access: HubAccess, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._access = access
        self._clock = clock

    async def get(self, actor: HubActor) -> HubOverview:
        """Return the numbers. Raises SignInNeeded, Refused."""
        await self._access.require_hub(actor, HubAction.VIEW_OVERVIEW)
        async with self._database.reading_long(SECONDS) as session:
            return await store.numbers(session, self._clock())
