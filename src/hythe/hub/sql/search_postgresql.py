"""Full-text search on PostgreSQL: tsvector by words and their beginnings; pg_trgm for likeness, where it is installed.

The expressions must be those of the indexes that migration 0002 makes.
"""

from sqlalchemy import Select, select, text

from hythe.database import Session
from hythe.hub.search_index import SearchQuery
from hythe.hub.sql.search import MOST_HITS, POPULAR, hits_of

_VECTOR = (
    "(setweight(to_tsvector('simple', translate(name, '/-_.', '    ')), 'A') || "
    "setweight(to_tsvector('simple', translate(description, '/-_.', '    ')), 'C'))"
)
_RANKED = f"""
SELECT repository_id, ts_rank({_VECTOR}, to_tsquery('simple', :words))::float8 AS rank
FROM search_documents WHERE {_VECTOR} @@ to_tsquery('simple', :words)
"""  # noqa: S608 (of constants)
# What many know is looked at first, and of the rest no more than MOST_HITS.
_BY_WORDS = f"""
{_RANKED} AND repository_id IN ({POPULAR})
UNION ALL ({_RANKED} LIMIT {MOST_HITS})
UNION ALL (
    SELECT repository_id, 0.0::float8 AS rank FROM search_documents WHERE name LIKE :part LIMIT {MOST_HITS}
)
"""  # noqa: S608 (of constants)
_BY_LIKENESS = """
SELECT repository_id, word_similarity(:text, name)::float8 AS rank FROM search_documents
WHERE :text <% name ORDER BY rank DESC LIMIT 100
"""
# A setting of the connection, which the pool keeps; nobody else reads it.
_LIKE_ENOUGH = text("SELECT set_config('pg_trgm.word_similarity_threshold', '0.45', false)")
_INSTALLED = select(text("1")).select_from(text("pg_extension")).where(text("extname = 'pg_trgm'"))


class PostgreSQLSearchIndex:
    """See hub.search_index.SearchIndex."""

    def by_words(self, query: SearchQuery) -> Select[tuple[int, float]]:
        """See SearchIndex."""
        words = " & ".join(f"'{word}':*" for word in query.words)
        escaped = query.text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        return hits_of(_BY_WORDS, words=words, part=f"%{escaped}%")

    async def by_likeness(self, session: Session, query: SearchQuery) -> Select[tuple[int, float]] | None:
        """See SearchIndex. Without the extension (an operator may not be allowed to install it) nothing is alike."""
        if await session.row(_INSTALLED) is None:
            return None
        await session.row(_LIKE_ENOUGH)
        return hits_of(_BY_LIKENESS, text=query.text)
