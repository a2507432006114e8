"""The catalog: the repositories that the actor may see."""

from hythe.database import Database
from hythe.registry.access import Access, Actor
from hythe.registry.sql import repositories as store
from hythe.registry.tags import Names

LARGEST_PAGE = 1000
"""Maximum number of names in one response."""

STRIDE = 500
"""Number of repositories in one access query."""


class Catalog:
    """Lists repositories."""

    def __init__(self, database: Database, access: Access) -> None:
        self._database = database
        self._access = access

    async def names(self, actor: Actor, after: str = "", limit: int | None = None) -> Names:
        """Return the repositories after ``after`` that contain a manifest and that ``actor`` may pull."""
        await self._access.enter(actor)
        wanted = min(limit, LARGEST_PAGE) if limit is not None else LARGEST_PAGE
        found: list[str] = []
        while len(found) <= wanted:
            async with self._database.reading() as session:
                names = await store.names_after(session, after, STRIDE)
            visible = await self._access.visible(actor, names)
            found += [name for name in names if name in visible]
            if len(names) < STRIDE:
                break
            after = names[-1]
        return Names(tuple(found[:wanted]), 0 < wanted < len(found))
