"""Navigation: tabs between related pages, and paging through a list."""

from collections.abc import Callable
from urllib.parse import urlencode

import msgspec

from hythe.hub.errors import Invalid
from hythe.hub.page import MAX_CURSOR_LENGTH, Paging
from hythe.web.routes.page_request import PageRequest

PAGE_SIZE = 24
"""Repositories or tags per page of a list: two or three fit in a row."""


class Tab(msgspec.Struct, frozen=True):
    """A link to a related page; ``current`` marks the page that is shown."""

    address: str
    title: str
    current: bool


def tabs(current: str, *pages: tuple[str, str]) -> tuple[Tab, ...]:
    """Return the tabs for pages given as (address, title); ``current`` is the address of the page shown."""
    return tuple(Tab(address, title, address == current) for address, title in pages)


def paging_of(page: PageRequest) -> Paging:
    """Return the list page that the query asks for by a number or a cursor; the first one if the number is invalid."""
    number = page.request.query_params.get("page", "1")
    cursor = page.request.query_params.get("cursor", "")[:MAX_CURSOR_LENGTH]
    try:
        valid = number.isascii() and number.isdecimal() and len(number) < 8
        return Paging(int(number) if valid else 1, PAGE_SIZE, cursor)
    except Invalid:
        return Paging(1, PAGE_SIZE)


def page_link(path: str, **query: str) -> Callable[[str], str]:
    """Return a function that maps the cursor of a page to its address."""
    return lambda cursor: (
        f"{path}?{urlencode({name: value for name, value in query.items() if value} | {'cursor': cursor})}"
    )
