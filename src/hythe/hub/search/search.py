"""Search for repositories, best match first.

Exact names come first, then names with the typed prefix, official ones before others; then the best text match, blended
with stars and pulls. A word also matches as a prefix (``cent``) and, if nothing else matches, with a typo.
"""

from hythe.database import Database, QueryTimeout, Session
from hythe.hub.access.access_context import Reader
from hythe.hub.access.decision import HubAccess
from hythe.hub.actor import HubActor
from hythe.hub.errors import SignInNeeded
from hythe.hub.page import Page, Paging
from hythe.hub.repositories.repository import Repository
from hythe.hub.search.search_index import SearchHits, SearchIndex, SearchQuery
from hythe.hub.sql import search as store

SECONDS = 0.5
"""Time limit of a full-text search."""


class SearchService:
    """Searches the index. Results include everything that was acknowledged before the request."""

    def __init__(self, database: Database, access: HubAccess, index: SearchIndex) -> None:
        self._database = database
        self._access = access
        self._index = index

    async def find(self, actor: HubActor, typed: str, paging: Paging) -> Page[Repository]:
        """Return a page of matching repositories that the actor may see; popular ones if nothing was typed.

        If a full-text search takes too long, the page contains only popular repositories, names with the typed
        beginning, and the actor's own.
        """
        query = SearchQuery.parse(typed)
        reader = self._access.reader(actor)
        if reader.nothing:
            raise SignInNeeded("this hub shows nothing without signing in")
        if query.empty:
            async with self._database.reading_long(SECONDS) as session:
                return await store.popular(session, reader, paging)
        if not query.words:
            return Page((), 0, paging)
        try:
            async with self._database.reading_long(SECONDS) as session:
                return await self._find(session, query, reader, paging)
        except QueryTimeout:
            async with self._database.reading_long(SECONDS) as session:
                return await store.ranked(session, query, SearchHits(), reader, paging)

    async def _find(self, session: Session, query: SearchQuery, reader: Reader, paging: Paging) -> Page[Repository]:
        page = await store.ranked(session, query, self._index.by_words(query), reader, paging)
        if page.total:
            return page
        alike = await self._index.by_likeness(session, query)
        return await store.ranked(session, query, alike, reader, paging) if alike.statements else page
