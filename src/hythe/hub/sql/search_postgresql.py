"""Full-text search on PostgreSQL: tsvector for words and prefixes; pg_trgm, if installed, for typos."""

from sqlalchemy import select, text

from hythe.database import Session
from hythe.hub.search.search_index import SearchHits, SearchQuery
from hythe.hub.search.search_ranking import MAX_CANDIDATES, MAX_SIMILAR, MIN_SIMILARITY
from hythe.hub.sql.search import hits_of

# The column ``words`` is generated (migration 0013). The planner knows how common a word is: it finds common ones in
# the table, and rare ones in the index.
_WORDS = hits_of(
    "SELECT repository_id FROM search_documents WHERE words @@ to_tsquery('simple', :words)", MAX_CANDIDATES
)
_PART = hits_of("SELECT repository_id FROM search_documents WHERE name LIKE :part", MAX_CANDIDATES)
_LIKENESS = hits_of(
    "SELECT repository_id FROM search_documents WHERE :alike <% name ORDER BY word_similarity(:alike, name) DESC",
    MAX_SIMILAR,
)
# A connection setting that stays set in the pool; only this query reads it.
_LIKE_ENOUGH = text(f"SELECT set_config('pg_trgm.word_similarity_threshold', '{MIN_SIMILARITY}', false)")
_INSTALLED = select(text("1")).select_from(text("pg_extension")).where(text("extname = 'pg_trgm'"))

_TRIGRAM = 3
"""The index of names does not find shorter parts."""


class PostgreSQLSearchIndex:
    """See hub.search_index.SearchIndex."""

    def by_words(self, query: SearchQuery) -> SearchHits:
        """See SearchIndex."""
        words = {"words": " & ".join(f"'{word}':*" for word in query.words)}
        if len(query.text) < _TRIGRAM:
            return SearchHits((_WORDS,), words)
        escaped = query.text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        return SearchHits((_WORDS, _PART), words | {"part": f"%{escaped}%"})

    async def by_likeness(self, session: Session, query: SearchQuery) -> SearchHits:
        """See SearchIndex. Without pg_trgm, which an operator may not be allowed to install, nothing matches."""
        if await session.row(_INSTALLED) is None:
            return SearchHits()
        await session.row(_LIKE_ENOUGH)
        return SearchHits((_LIKENESS,), {"alike": query.text})
