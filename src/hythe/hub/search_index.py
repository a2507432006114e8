"""The port of full-text search: what is asked of each database, and the query as a value."""

import re
from typing import Protocol

import msgspec
from sqlalchemy import Select

from hythe.database import Session

LONGEST_QUERY = 200
MOST_WORDS = 8

_WORD = re.compile(r"[^\W_]+")


class SearchQuery(msgspec.Struct, frozen=True):
    """What somebody typed: the text as one, in lower case, and its words."""

    text: str
    words: tuple[str, ...]

    @classmethod
    def parse(cls, typed: str) -> "SearchQuery":
        """Return the query that ``typed`` stands for; anything can be searched for."""
        text = typed[:LONGEST_QUERY].lower().strip().removeprefix("library/")
        return cls(text.replace("\0", ""), tuple(_WORD.findall(text)[:MOST_WORDS]))


class SearchIndex(Protocol):
    """The port: finds by full text. Both give ``repository_id`` and ``rank`` (0 and more; more is better)."""

    def by_words(self, query: SearchQuery) -> Select[tuple[int, float]]:
        """Rows for the repositories that hold every word, at least its beginning, or whose name holds the text."""

    async def by_likeness(self, session: Session, query: SearchQuery) -> Select[tuple[int, float]] | None:
        """Rows for the repositories whose names look like the text; None when this database cannot tell."""
