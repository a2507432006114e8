"""Pages of long lists. Each page carries cursors of the pages around it, which cost the same at any depth."""

import base64
import binascii
from datetime import datetime
from types import GenericAlias
from typing import Generic, TypeAlias, TypeVar

import msgspec

from hythe.hub.errors import Invalid

T = TypeVar("T")

PAGE_SIZE = 25
MAX_PAGE_SIZE = 100

MAX_DEPTH = 10_000
"""The last item that a page number reaches: what comes before must be skipped. Cursors reach any depth."""

MAX_COUNTED = 10_000
"""The maximum total of a list: counting more items would cost more than showing a page."""

MAX_CURSOR_LENGTH = 1000
"""Characters of a cursor."""

Key: TypeAlias = tuple[datetime | int | str, ...]
"""The sort key of an item of a list: its values in the order of the sort columns."""


class Position(msgspec.Struct, frozen=True, array_like=True):
    """Where a page begins: after the item with this key, or ``backwards``, the page that ends before it."""

    backwards: bool
    key: Key

    def __str__(self) -> str:
        """Return the position as a cursor: an opaque text for a URL."""
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")

    @classmethod
    def parse(cls, cursor: str, *types: type) -> "Position":
        """Parse a cursor of a list whose sort key has these types. Raises Invalid."""
        try:
            content = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
            decoded: tuple[bool, Key] = msgspec.json.decode(
                content, type=GenericAlias(tuple, (bool, GenericAlias(tuple, types)))
            )
        except (binascii.Error, ValueError, msgspec.MsgspecError, RecursionError) as error:
            raise Invalid({"cursor": "must be the cursor of a page of this list: start again without it"}) from error
        backwards, key = decoded
        if any(isinstance(each, datetime) and each.tzinfo is None for each in key):
            raise Invalid({"cursor": "must contain times in UTC: start again without it"})
        return cls(backwards, key)


class Paging(msgspec.Struct, frozen=True):
    """The requested page: its number, counted from 1, or its ``cursor``, which replaces the number."""

    page: int = 1
    page_size: int = PAGE_SIZE
    cursor: str = ""

    def __post_init__(self) -> None:
        problems = {}
        if not 1 <= self.page_size <= MAX_PAGE_SIZE:
            problems["page_size"] = f"must be 1 to {MAX_PAGE_SIZE}"
        if not self.cursor and not 1 <= self.page <= self.last_page:
            problems["page"] = f"must be 1 to {self.last_page} for this page size: follow the links to the next pages"
        if problems:
            raise Invalid(problems)

    @property
    def last_page(self) -> int:
        """The largest page number."""
        return MAX_DEPTH // min(max(self.page_size, 1), MAX_PAGE_SIZE)

    @property
    def offset(self) -> int:
        """The number of items before this page, without a cursor."""
        return (self.page - 1) * self.page_size


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list of ``total`` items, or more if ``total_exact`` is false.

    ``next`` and ``previous`` are the cursors of the pages around it; empty if there are none.
    """

    items: tuple[T, ...]
    total: int
    paging: Paging
    next: str = ""
    previous: str = ""
    total_exact: bool = True

    @property
    def more(self) -> bool:
        """Whether there is a next page."""
        return bool(self.next)
