"""Full-text search on PostgreSQL: tsvector for words and prefixes; pg_trgm, if installed, for typos.

The expressions must equal those of the indexes in migration 0002.
"""

from sqlalchemy import Select, select, text

from hythe.database import Session
from hythe.hub.search_index import SearchQuery
from hythe.hub.search_ranking import MAX_CANDIDATES, MAX_SIMILAR, MIN_SIMILARITY
from hythe.hub.sql.search import POPULAR, hits_of

_VECTOR = (
    "(setweight(to_tsvector('simple', translate(name, '/-_.', '    ')), 'A') || "
    "setweight(to_tsvector('simple', translate(description, '/-_.', '    ')), 'C'))"
)
_RANKED = f"""
SELECT repository_id, ts_rank({_VECTOR}, to_tsquery('simple', :words))::float8 AS rank
FROM search_documents WHERE {_VECTOR} @@ to_tsquery('simple', :words)
"""  # noqa: S608 (of constants)
# Examine popular repositories first, then at most MAX_CANDIDATES of the rest.
_BY_WORDS = f"""
{_RANKED} AND repository_id IN ({POPULAR})
UNION ALL ({_RANKED} LIMIT {MAX_CANDIDATES})
UNION ALL (
    SELECT repository_id, 0.0::float8 AS rank FROM search_documents WHERE name LIKE :part LIMIT {MAX_CANDIDATES}
)
"""  # noqa: S608 (of constants)
_BY_LIKENESS = f"""
SELECT repository_id, word_similarity(:text, name)::float8 AS rank FROM search_documents
WHERE :text <% name ORDER BY rank DESC LIMIT {MAX_SIMILAR}
"""  # noqa: S608 (of constants)
# A connection setting that stays set in the pool; only this query reads it.
_LIKE_ENOUGH = text(f"SELECT set_config('pg_trgm.word_similarity_threshold', '{MIN_SIMILARITY}', false)")
_INSTALLED = select(text("1")).select_from(text("pg_extension")).where(text("extname = 'pg_trgm'"))


class PostgreSQLSearchIndex:
    """See hub.search_index.SearchIndex."""

    def by_words(self, query: SearchQuery) -> Select[tuple[int, float]]:
        """See SearchIndex."""
        words = " & ".join(f"'{word}':*" for word in query.words)
        escaped = query.text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        return hits_of(_BY_WORDS, words=words, part=f"%{escaped}%")

    async def by_likeness(self, session: Session, query: SearchQuery) -> Select[tuple[int, float]] | None:
        """See SearchIndex. Without pg_trgm, which an operator may not be allowed to install, nothing matches."""
        if await session.row(_INSTALLED) is None:
            return None
        await session.row(_LIKE_ENOUGH)
        return hits_of(_BY_LIKENESS, text=query.text)
