"""The catalog: the repositories that the actor may see."""

from hythe.database import Database
from hythe.registry.access import Access, Actor
from hythe.registry.sql import repositories as store
from hythe.registry.tags import NamePage

MAX_PAGE_SIZE = 1000
"""Maximum number of names in one response."""


class Catalog:
    """Lists repositories."""

    def __init__(self, database: Database, access: Access) -> None:
        self._database = database
        self._access = access

    async def names(self, actor: Actor, after: str = "", limit: int | None = None) -> NamePage:
        """Return the repositories after ``after`` that contain a manifest and that ``actor`` may pull."""
        await self._access.enter(actor)
        wanted = min(limit, MAX_PAGE_SIZE) if limit is not None else MAX_PAGE_SIZE
        listing = await self._access.listing(actor, after, wanted + 1)
        async with self._database.reading() as session:
            found = await store.in_catalog(session, listing, after, wanted + 1)
        return NamePage(found[:wanted], 0 < wanted < len(found))
