"""The port of full-text search: what each database implements, and the parsed query."""

import re
from typing import Protocol

import msgspec
from sqlalchemy import Select

from hythe.database import Session

MAX_QUERY_LENGTH = 200
MAX_WORDS = 8

_WORD = re.compile(r"[^\W_]+")


class SearchQuery(msgspec.Struct, frozen=True):
    """What a user typed: the whole text in lower case, and its words."""

    text: str
    words: tuple[str, ...]

    @classmethod
    def parse(cls, typed: str) -> "SearchQuery":
        """Return the query for ``typed``; every text is valid."""
        text = typed[:MAX_QUERY_LENGTH].lower().strip().removeprefix("library/")
        return cls(text.replace("\0", ""), tuple(_WORD.findall(text)[:MAX_WORDS]))


class SearchIndex(Protocol):
    """The port of full-text search. Both methods select ``repository_id`` and ``rank`` (from 0; higher is better)."""

    def by_words(self, query: SearchQuery) -> Select[tuple[int, float]]:
        """Select the repositories that contain every word, at least as a prefix, or whose name contains the text."""

    async def by_likeness(self, session: Session, query: SearchQuery) -> Select[tuple[int, float]] | None:
        """Select the repositories whose names resemble the text; None if this database cannot tell."""
