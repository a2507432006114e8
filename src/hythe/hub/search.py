"""Search for repositories, best match first.

Exact names come first, then names with the typed prefix, official ones before others; then the best text match, blended
with stars and pulls. A word also matches as a prefix (``cent``) and, if nothing else matches, with a typo.
"""

from hythe.database import Database
from hythe.hub.access import HubAccess
from hythe.hub.actor import HubActor
from hythe.hub.page import Page, Paging
from hythe.hub.repository import Repository
from hythe.hub.search_index import SearchIndex, SearchQuery
from hythe.hub.sql import search as store


class SearchService:
    """Searches the index. Results include everything that was acknowledged before the request."""

    def __init__(self, database: Database, access: HubAccess, index: SearchIndex) -> None:
        self._database = database
        self._access = access
        self._index = index

    async def find(self, actor: HubActor, typed: str, paging: Paging) -> Page[Repository]:
        """Return a page of matching repositories that the actor may see; popular ones if nothing was typed."""
        query = SearchQuery.parse(typed)
        reader = self._access.reader(actor)
        async with self._database.reading() as session:
            if not query.words:
                items, total = await store.popular(session, reader, paging)
            else:
                items, total = await store.ranked(session, self._index.by_words(query), query.text, reader, paging)
                if not total and (alike := await self._index.by_likeness(session, query)) is not None:
                    items, total = await store.ranked(session, alike, query.text, reader, paging)
        return Page(items, total, paging)
