"""Full-text search on SQLite: FTS5 by words and their beginnings, and by trigrams."""

from itertools import combinations

from sqlalchemy import Select

from hythe.database import Session
from hythe.hub.search_index import SearchQuery
from hythe.hub.sql.search import MOST_HITS, POPULAR, hits_of

# bm25 is below 0, and less is better. What many know is looked at first, and of the rest no more than MOST_HITS.
_BY_WORDS = f"""
SELECT repository_id, 0.5 AS rank FROM ({POPULAR}) WHERE repository_id IN (
    SELECT rowid FROM search_words WHERE search_words MATCH :words
)
UNION ALL
SELECT repository_id, weight / (weight - 1.0) AS rank FROM (
    SELECT rowid AS repository_id, bm25(search_words, 8.0, 1.0) AS weight FROM search_words
    WHERE search_words MATCH :words LIMIT {MOST_HITS}
)
UNION ALL
SELECT * FROM (
    SELECT rowid AS repository_id, 0.0 AS rank FROM search_trigrams WHERE search_trigrams MATCH :part LIMIT {MOST_HITS}
)
"""  # noqa: S608 (of constants)
_BY_LIKENESS = """
SELECT repository_id, weight / (weight - 1.0) AS rank FROM (
    SELECT rowid AS repository_id, bm25(search_trigrams) AS weight FROM search_trigrams
    WHERE search_trigrams MATCH :part ORDER BY weight LIMIT 100
)
"""

_TRIGRAM = 3
"""Shorter texts have no trigram."""

_MOST_TRIGRAMS = 12
_NO_NAME = "\x1a\x1a\x1a"


class SQLiteSearchIndex:
    """See hub.search.SearchIndex."""

    def by_words(self, query: SearchQuery) -> Select[tuple[int, float]]:
        """See SearchIndex."""
        words = " ".join(f'"{word}"*' for word in query.words)
        part = query.text if len(query.text) >= _TRIGRAM else _NO_NAME
        return hits_of(_BY_WORDS, words=words, part=_quoted(part))

    async def by_likeness(self, session: Session, query: SearchQuery) -> Select[tuple[int, float]] | None:
        """See SearchIndex. Alike is what shares two trigrams of the text; the rank sorts out how much."""
        starts = range(len(query.text) - _TRIGRAM + 1)
        trigrams = sorted({query.text[at : at + _TRIGRAM] for at in starts})[:_MOST_TRIGRAMS]
        if len(trigrams) < 2:
            return None
        pairs = combinations(map(_quoted, trigrams), 2)
        return hits_of(_BY_LIKENESS, part=" OR ".join(f"({one} AND {other})" for one, other in pairs))


def _quoted(text_: str) -> str:
    """A string of FTS5's query language."""
    return '"' + text_.replace('"', '""') + '"'
