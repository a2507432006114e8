"""The pages of administrators that only show: the overview, settings and mail; and the frame of all of them."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.responses import Response

from hythe.hub.access.actions import HubAction
from hythe.hub.page import Paging
from hythe.web.flashes import Flash
from hythe.web.routes.form import Form, FormRejected, submitted
from hythe.web.routes.navigation import page_link, paging_of, tabs
from hythe.web.routes.page_request import PageRequest
from hythe.web.routes.page_route import PageRoute

OVERVIEW = "/admin"
MAIL = "/admin/mail"
SETTINGS = "/admin/settings"

TABS = (
    (OVERVIEW, "Overview"),
    ("/admin/accounts", "Accounts"),
    ("/admin/repositories", "Repositories"),
    ("/admin/reports", "Reports"),
    ("/admin/blocked", "Blocked"),
    ("/admin/builds", "Builds"),
    ("/admin/storage", "Storage"),
    ("/admin/replication", "Replication"),
    (MAIL, "Mail"),
    (SETTINGS, "Settings"),
    ("/admin/audit", "Audit log"),
)


def administration_page(
    page: PageRequest, template: str, tab: str, form: Form | None = None, status: int = 0, **values: Any
) -> Response:
    """Render a page of administrators below the tab with this address. ``status`` 0: 422 if the form has errors."""
    form = form or Form()
    status = status or (422 if form.errors else 200)
    return page.render(template, status, form=form, tabs=tabs(tab, *TABS), **values)


async def action_page(
    page: PageRequest, template: str, tab: str, work: Callable[[Form], Awaitable[str]], flash: Flash, **values: Any
) -> Response:
    """Show a page with one form, or do its ``work``, and redirect to the path that this returns."""
    form, status = Form(), 200
    if page.request.method == "POST":
        form = await page.form()
        try:
            return page.redirect(await submitted(form, work(form)), flash)
        except FormRejected as rejected:
            form, status = rejected.form, rejected.status
    return administration_page(page, template, tab, form, status, **values)


def searched_text(page: PageRequest, longest: int) -> str:
    """Return the text in the query that a list is searched for."""
    return page.request.query_params.get("q", "").replace("\0", "").strip()[:longest]


async def overview(page: PageRequest) -> Response:
    """Show the numbers that matter, each with a link to what it counts."""
    hub, builds = page.site.hub, page.site.builds
    return administration_page(
        page,
        "admin-overview.html",
        OVERVIEW,
        numbers=await hub.hub_administration.overview.get(page.actor),
        queue=await builds.queue_administration.list(page.actor, Paging(page_size=1)),
        connected=sum(worker.connected for worker in await builds.worker_administration.list(page.actor)),
        mail_server=hub.mail.configured,
    )


async def settings(page: PageRequest) -> Response:
    """Show the settings in force, without secrets."""
    listed = await page.site.hub.hub_administration.settings.list(page.actor)
    return administration_page(page, "admin-settings.html", SETTINGS, settings=listed)


async def mail(page: PageRequest) -> Response:
    """List the messages of the last days; without a mail server with their links, to pass them on."""
    service = page.site.hub.mail
    listing = await service.list(page.actor, paging_of(page))
    return administration_page(
        page, "admin-mail.html", MAIL, listing=listing, mail_server=service.configured, page_link=page_link(MAIL)
    )


PAGES = (
    PageRoute(OVERVIEW, overview, get=HubAction.VIEW_OVERVIEW),
    PageRoute(SETTINGS, settings, get=HubAction.VIEW_SETTINGS),
    PageRoute(MAIL, mail, get=HubAction.VIEW_MAIL),
)
