"""The sessions of an account: where it is signed in."""

from starlette.responses import Response

from hythe.web.flashes import Flash
from hythe.web.routes.account import account_tabs
from hythe.web.routes.navigation import page_link, paging_of
from hythe.web.routes.page_request import PageRequest

ADDRESS = "/account/sessions"


async def sessions(page: PageRequest) -> Response:
    """List the sessions."""
    listed = await page.site.hub.sessions.list(page.actor, paging_of(page))
    return page.render("sessions.html", sessions=listed, link=page_link(ADDRESS), tabs=account_tabs(ADDRESS))


async def end_session(page: PageRequest) -> Response:
    """End one session."""
    await page.form()
    await page.site.hub.sessions.revoke(page.actor, page.request.path_params["session"])
    return page.redirect(ADDRESS, Flash.SESSION_ENDED)


async def end_other_sessions(page: PageRequest) -> Response:
    """End all sessions but this one."""
    await page.form()
    await page.site.hub.sessions.revoke_others(page.actor)
    return page.redirect(ADDRESS, Flash.SESSIONS_ENDED)
