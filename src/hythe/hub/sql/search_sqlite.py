"""Full-text search on SQLite: FTS5 for words and prefixes, and for trigrams."""

from itertools import combinations

from hythe.database import Session
from hythe.hub.search.search_index import SearchHits, SearchQuery
from hythe.hub.search.search_ranking import MAX_CANDIDATES, MAX_SIMILAR
from hythe.hub.sql.search import hits_of

# Without bm25(), which reads every match of a word, and without an order: FTS5 stops at the limit.
_WORDS = hits_of("SELECT rowid AS repository_id FROM search_words WHERE search_words MATCH :words", MAX_CANDIDATES)
_PART = hits_of("SELECT rowid AS repository_id FROM search_trigrams WHERE search_trigrams MATCH :part", MAX_CANDIDATES)
_LIKENESS = hits_of(
    "SELECT rowid AS repository_id FROM search_trigrams WHERE search_trigrams MATCH :alike "
    "ORDER BY bm25(search_trigrams)",
    MAX_SIMILAR,
)

_TRIGRAM = 3
"""Shorter texts contain no trigram."""

_MAX_TRIGRAMS = 12


class SQLiteSearchIndex:
    """See hub.search_index.SearchIndex."""

    def by_words(self, query: SearchQuery) -> SearchHits:
        """See SearchIndex."""
        words = {"words": " ".join(f'"{word}"*' for word in query.words)}
        if len(query.text) < _TRIGRAM:
            return SearchHits((_WORDS,), words)
        return SearchHits((_WORDS, _PART), words | {"part": _quoted(query.text)})

    async def by_likeness(self, session: Session, query: SearchQuery) -> SearchHits:
        """See SearchIndex. Texts that share two trigrams are similar."""
        starts = range(len(query.text) - _TRIGRAM + 1)
        trigrams = sorted({query.text[at : at + _TRIGRAM] for at in starts})[:_MAX_TRIGRAMS]
        if len(trigrams) < 2:
            return SearchHits()
        pairs = combinations(map(_quoted, trigrams), 2)
        return SearchHits((_LIKENESS,), {"alike": " OR ".join(f"({one} AND {other})" for one, other in pairs)})


def _quoted(text_: str) -> str:
    """Return a string literal of FTS5's query language."""
    return '"' + text_.replace('"', '""') + '"'
