"""The start page and search."""

from collections.abc import Callable
from urllib.parse import urlencode

from starlette.responses import Response

from hythe.hub.errors import Invalid
from hythe.hub.page import Paging
from hythe.web.routes.page_request import PageRequest

NEWEST = 9
"""Repositories on the start page."""

PAGE = 24
"""Repositories on a page of a list: two or three fill a row."""


async def start(visit: PageRequest) -> Response:
    """What this is, the newest public repositories, and how to begin."""
    newest = await visit.site.hub.repositories.newest(Paging(1, NEWEST))
    return visit.page("start.html", newest=newest)


async def search(visit: PageRequest) -> Response:
    """What fits the words; without words, the newest."""
    hub, paging = visit.site.hub, paging_of(visit)
    query = visit.request.query_params.get("q", "").strip()[:200]
    found = await (hub.search.find(visit.actor, query, paging) if query else hub.repositories.newest(paging))
    return visit.page("search.html", query=query, found=found, page_link=page_link("/search", q=query))


def paging_of(visit: PageRequest) -> Paging:
    """Return the page that the address asks for; the first when it asks for nonsense."""
    number = visit.request.query_params.get("page", "1")
    try:
        return Paging(int(number) if number.isascii() and number.isdecimal() and len(number) < 8 else 1, PAGE)
    except Invalid:
        return Paging(1, PAGE)


def page_link(path: str, **query: str) -> Callable[[int], str]:
    """Return the function from the number of a page to its address."""
    return lambda number: (
        f"{path}?{urlencode({name: value for name, value in query.items() if value} | {'page': number})}"
    )
