"""What a user typed into a search."""

import re
import string
import unicodedata

import msgspec

from hythe.database.port import Dialect

MAX_QUERY_LENGTH = 200
MAX_WORDS = 8

WORD_LENGTH = 64
"""Characters of a word that the index keeps."""

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

    def indexed_words(self, dialect: Dialect) -> tuple[str, ...]:
        """Return the words as the index of a database has them: each once, on SQLite without accents."""
        wanted = self.words if dialect == "postgresql" else map(_without_accents, self.words)
        return tuple(dict.fromkeys(word[:WORD_LENGTH] for word in wanted))


def _without_accents(word: str) -> str:
    letters = (each for each in unicodedata.normalize("NFD", word) if not unicodedata.combining(each))
    return unicodedata.normalize("NFC", "".join(letters))
