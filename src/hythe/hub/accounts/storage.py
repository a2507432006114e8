"""What the hub stores, for administrators."""

from hythe.database import Database
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.actor import HubActor
from hythe.hub.sql import storage as store
from hythe.hub.sql.storage import StorageReport

LARGEST = 50
SECONDS = 10.0
"""Time limit: all namespaces are read."""


class StorageService:
    """How much storage namespaces use."""

    def __init__(self, database: Database, access: HubAccess) -> None:
        self._database = database
        self._access = access

    async def report(self, actor: HubActor) -> StorageReport:
        """Return the sums and the largest namespaces. Raises SignInNeeded, Refused."""
        await self._access.require_hub(actor, HubAction.VIEW_STORAGE)
        async with self._database.reading_long(SECONDS) as session:
            return await store.report(session, LARGEST)
