"""The start page and search."""

from starlette.responses import Response

from hythe.hub.page import Paging
from hythe.web.routes.navigation import page_link, paging_of
from hythe.web.routes.page_request import PageRequest

NEWEST_COUNT = 9
"""Repositories on the start page."""


async def start(page: PageRequest) -> Response:
    """Introduce the hub, list the newest public repositories and show how to start."""
    newest = await page.site.hub.repositories.newest(Paging(1, NEWEST_COUNT))
    return page.render("start.html", newest=newest)


async def search(page: PageRequest) -> Response:
    """List the repositories that match the query; without a query, the newest."""
    hub, paging = page.site.hub, paging_of(page)
    query = page.request.query_params.get("q", "").strip()[:200]
    listing = await (hub.search.find(page.actor, query, paging) if query else hub.repositories.newest(paging))
    return page.render("search.html", query=query, listing=listing, page_link=page_link("/search", q=query))
