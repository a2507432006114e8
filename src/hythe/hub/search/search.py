"""Search for repositories, best match first.

Exact names come first, then names with the typed prefix, official ones before others; then the best text match, blended
with stars and pulls. A word also matches as a prefix (``cent``). If that finds few repositories, names that contain the
word match, too, and if nothing matches, names with similar words.
"""

from hythe.database import Database, QueryTimeout, Session
from hythe.hub.access.access_context import Reader
from hythe.hub.access.decision import HubAccess
from hythe.hub.actor import HubActor
from hythe.hub.errors import SignInNeeded
from hythe.hub.page import Page, Paging
from hythe.hub.repositories.repository import Repository
from hythe.hub.search.search_query import SearchQuery
from hythe.hub.search.search_ranking import FEW, MAX_WALKED_FAR
from hythe.hub.sql import search as store
from hythe.hub.sql import search_postings, search_terms
from hythe.hub.sql.search_postings import Audience, SearchPlan

SECONDS = 2.0
"""Time limit of each statement of a search."""


class SearchService:
    """Searches for repositories. Results include everything that was acknowledged before the request."""

    def __init__(self, database: Database, access: HubAccess) -> None:
        self._database = database
        self._access = access

    async def find(self, actor: HubActor, typed: str, paging: Paging) -> Page[Repository]:
        """Return a page of matching repositories that the actor may see; popular ones if nothing was typed.

        If a search takes too long, the page contains only names with the typed beginning.
        """
        query = SearchQuery.parse(typed)
        reader = self._access.reader(actor)
        if reader.nothing:
            raise SignInNeeded("this hub shows nothing without signing in")
        if not query.words and not query.empty:
            return Page((), 0, paging)
        if query.empty:
            async with self._database.reading_long(SECONDS) as session:
                searched = await search_postings.audiences(session, reader)
                return await store.popular(session, searched, reader, paging)
        try:
            async with self._database.reading_long(SECONDS) as session:
                searched = await search_postings.audiences(session, reader)
                return await _find(session, query, searched, reader, paging)
        except QueryTimeout:
            async with self._database.reading_long(SECONDS) as session:
                searched = await search_postings.audiences(session, reader)
                return await store.ranked(session, query, searched, SearchPlan(), reader, paging)


async def _find(
    session: Session, query: SearchQuery, searched: tuple[Audience, ...], reader: Reader, paging: Paging
) -> Page[Repository]:
    wanted = query.indexed_words(session.dialect)
    plan = await search_postings.plan(session, wanted, searched)
    page = await store.ranked(session, query, searched, plan, reader, paging)
    if page.total < FEW and plan.cut:
        plan = SearchPlan(plan.leads, plan.unmatched, walked=MAX_WALKED_FAR)
        page = await store.ranked(session, query, searched, plan, reader, paging)
    if page.total < FEW and (plan.unmatched or len(wanted) == 1):
        other = await _with_other_words(session, wanted, plan, none_found=not page.total)
        if other is not None:
            return await store.ranked(session, query, searched, other, reader, paging)
    return page


async def _with_other_words(
    session: Session, wanted: tuple[str, ...], plan: SearchPlan, *, none_found: bool
) -> SearchPlan | None:
    """Return a plan in which other words replace those that nothing contains; None if one has no replacement."""
    replaced: list[tuple[str, ...]] = []
    for word in plan.unmatched or wanted:
        terms = await search_terms.containing(session, word)
        if not terms and none_found:
            terms = await search_terms.resembling(session, word)
        if not terms:
            return None
        replaced.append(terms)
    kept = (word for word in wanted if len(wanted) > 1 and word not in plan.unmatched)
    others = (*kept, *(terms[0] for terms in replaced[1:]))
    return SearchPlan(plan.leads, plan.unmatched, replaced[0], others, plan.walked)
