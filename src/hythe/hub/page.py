"""Pages of long lists."""

from typing import Generic, TypeVar

import msgspec

from hythe.hub.errors import Invalid

T = TypeVar("T")

PAGE_SIZE = 25
MAX_PAGE_SIZE = 100
LAST_PAGE = 1_000_000


class Paging(msgspec.Struct, frozen=True):
    """The requested page, counted from 1, and the number of items on a page."""

    page: int = 1
    page_size: int = PAGE_SIZE

    def __post_init__(self) -> None:
        problems = {}
        if not 1 <= self.page <= LAST_PAGE:
            problems["page"] = f"must be 1 to {LAST_PAGE}"
        if not 1 <= self.page_size <= MAX_PAGE_SIZE:
            problems["page_size"] = f"must be 1 to {MAX_PAGE_SIZE}"
        if problems:
            raise Invalid(problems)

    @property
    def offset(self) -> int:
        """The number of items before this page."""
        return (self.page - 1) * self.page_size


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list of ``total`` items."""

    items: tuple[T, ...]
    total: int
    paging: Paging

    @property
    def more(self) -> bool:
        """Whether there is a next page."""
        return self.paging.offset + len(self.items) < self.total
