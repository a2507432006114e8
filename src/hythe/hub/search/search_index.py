"""The port of full-text search: what each database implements, and the parsed query."""

import re
import string
from collections.abc import Mapping
from typing import Protocol

import msgspec
from sqlalchemy import Select

from hythe.database import Session

MAX_QUERY_LENGTH = 200
MAX_WORDS = 8

_WORD = re.compile(r"[^\W_]+")


class SearchQuery(msgspec.Struct, frozen=True):
    """What a user typed: the whole text in lower case, and its words. Without words it matches nothing.

    ``empty``: nothing but spaces was typed.
    """

    text: str
    words: tuple[str, ...]
    empty: bool

    @classmethod
    def parse(cls, typed: str) -> "SearchQuery":
        """Return the query for ``typed``; every text is valid."""
        text = typed[:MAX_QUERY_LENGTH].lower().strip(string.whitespace).removeprefix("library/")
        storable = text.replace("\0", "").encode(errors="ignore").decode()
        return cls(storable, tuple(_WORD.findall(storable)[:MAX_WORDS]), not text)


class SearchHits(msgspec.Struct, frozen=True):
    """Statements that select ``repository_id``, each at most MAX_CANDIDATES, and the values of their parameters."""

    statements: tuple[Select[tuple[int]], ...] = ()
    parameters: Mapping[str, str] = {}


class SearchIndex(Protocol):
    """The port of full-text search among public repositories. Both methods return the same few statements."""

    def by_words(self, query: SearchQuery) -> SearchHits:
        """Select some repositories that contain every word, at least as a prefix, or whose name contains the text."""

    async def by_likeness(self, session: Session, query: SearchQuery) -> SearchHits:
        """Select the repositories whose names resemble the text; nothing if this database cannot tell."""
