"""The catalog: the repositories that the actor may see."""

from hythe.database import Database
from hythe.registry.access import Access, Actor
from hythe.registry.sql import repositories as store
from hythe.registry.tags import NamePage

MAX_PAGE_SIZE = 1000
"""Maximum number of names in one response."""

BATCH_SIZE = 500
"""Number of repositories in one access query."""


class Catalog:
    """Lists repositories."""

    def __init__(self, database: Database, access: Access) -> None:
        self._database = database
        self._access = access

    async def names(self, actor: Actor, after: str = "", limit: int | None = None) -> NamePage:
        """Return the repositories after ``after`` that contain a manifest and that ``actor`` may pull."""
        await self._access.enter(actor)
        wanted = min(limit, MAX_PAGE_SIZE) if limit is not None else MAX_PAGE_SIZE
        found: list[str] = []
        while len(found) <= wanted:
            async with self._database.reading() as session:
                names = await store.names_after(session, after, BATCH_SIZE)
            visible = await self._access.visible(actor, names)
            found += [name for name in names if name in visible]
            if len(names) < BATCH_SIZE:
                break
            after = names[-1]
        return NamePage(tuple(found[:wanted]), 0 < wanted < len(found))
