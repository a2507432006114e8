"""The catalog: which repositories there are, as far as the asker may know."""

from hythe.database import Database
from hythe.registry.access import Access, Actor
from hythe.registry.sql import repositories as store
from hythe.registry.tags import Names

LARGEST_PAGE = 1000
"""Most names of one answer."""

STRIDE = 500
"""How many repositories are asked about at once."""


class Catalog:
    """The list of repositories."""

    def __init__(self, database: Database, access: Access) -> None:
        self._database = database
        self._access = access

    async def names(self, actor: Actor, after: str = "", limit: int | None = None) -> Names:
        """Return the repositories behind ``after`` that hold a manifest and that ``actor`` may pull."""
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
