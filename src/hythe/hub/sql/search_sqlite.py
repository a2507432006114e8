"""Full-text search on SQLite: FTS5 for words and prefixes, and for trigrams."""

from itertools import combinations

from sqlalchemy import Select

from hythe.database import Session
from hythe.hub.search_index import SearchQuery
from hythe.hub.search_ranking import MAX_CANDIDATES, MAX_SIMILAR, NAME_WEIGHT
from hythe.hub.sql.search import POPULAR, hits_of

# bm25 is negative; lower is better. Examine popular repositories first, then at most MAX_CANDIDATES of the rest.
_BY_WORDS = f"""
SELECT repository_id, 0.5 AS rank FROM ({POPULAR}) WHERE repository_id IN (
    SELECT rowid FROM search_words WHERE search_words MATCH :words
)
UNION ALL
SELECT repository_id, weight / (weight - 1.0) AS rank FROM (
    SELECT rowid AS repository_id, bm25(search_words, {NAME_WEIGHT}, 1.0) AS weight FROM search_words
    WHERE search_words MATCH :words LIMIT {MAX_CANDIDATES}
)
UNION ALL
SELECT * FROM (
    SELECT rowid AS repository_id, 0.0 AS rank FROM search_trigrams
    WHERE search_trigrams MATCH :part LIMIT {MAX_CANDIDATES}
)
"""  # noqa: S608 (of constants)
_BY_LIKENESS = f"""
SELECT repository_id, weight / (weight - 1.0) AS rank FROM (
    SELECT rowid AS repository_id, bm25(search_trigrams) AS weight FROM search_trigrams
    WHERE search_trigrams MATCH :part ORDER BY weight LIMIT {MAX_SIMILAR}
)
"""  # noqa: S608 (of constants)

_TRIGRAM = 3
"""Shorter texts contain no trigram."""

_MAX_TRIGRAMS = 12
_NO_NAME = "\x1a\x1a\x1a"


class SQLiteSearchIndex:
    """See hub.search_index.SearchIndex."""

    def by_words(self, query: SearchQuery) -> Select[tuple[int, float]]:
        """See SearchIndex."""
        words = " ".join(f'"{word}"*' for word in query.words)
        part = query.text if len(query.text) >= _TRIGRAM else _NO_NAME
        return hits_of(_BY_WORDS, words=words, part=_quoted(part))

    async def by_likeness(self, session: Session, query: SearchQuery) -> Select[tuple[int, float]] | None:
        """See SearchIndex. Texts that share two trigrams are similar; the rank sorts them."""
        starts = range(len(query.text) - _TRIGRAM + 1)
        trigrams = sorted({query.text[at : at + _TRIGRAM] for at in starts})[:_MAX_TRIGRAMS]
        if len(trigrams) < 2:
            return None
        pairs = combinations(map(_quoted, trigrams), 2)
        return hits_of(_BY_LIKENESS, part=" OR ".join(f"({one} AND {other})" for one, other in pairs))


def _quoted(text_: str) -> str:
    """Return a string literal of FTS5's query language."""
    return '"' + text_.replace('"', '""') + '"'
