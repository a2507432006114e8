"""Invitations: the link in an e-mail, one's own, and those of an organization."""

from urllib.parse import quote

from starlette.responses import Response

from hythe.hub.collaborator import Invitation
from hythe.hub.errors import NotFound, Refused
from hythe.hub.invitations import LINK_PATH
from hythe.web.flashes import Flash
from hythe.web.routes.account import account_tabs
from hythe.web.routes.navigation import page_link, paging_of
from hythe.web.routes.page_request import PageRequest

LONGEST_SECRET = 200

OWN = "/account/invitations"


async def link(page: PageRequest) -> Response:
    """Show the invitation of a link in an e-mail, and accept or decline it for the user who is signed in."""
    invitations = page.site.hub.invitations
    if page.request.method != "POST":
        secret = page.request.query_params.get("token", "")
        return await _link_page(page, secret)
    form = await page.form()
    page.require_account()
    secret = form["token"][:LONGEST_SECRET]
    if form["action"] == "decline":
        await invitations.decline_link(page.actor, secret)
        return page.redirect(OWN, Flash.INVITATION_DECLINED)
    try:
        invitation = await invitations.accept_link(page.actor, secret)
    except Refused as error:
        return await _link_page(page, secret, str(error))
    return page.redirect(_what(invitation), Flash.INVITATION_ACCEPTED)


async def _link_page(page: PageRequest, secret: str, problem: str = "") -> Response:
    try:
        invitation = await page.site.hub.invitations.by_link(page.actor, secret[:LONGEST_SECRET])
    except NotFound:
        return page.render("invitation.html", 404, invitation=None, secret="", problem="", next="")
    target = quote(f"{LINK_PATH}?token={quote(secret)}", safe="/")
    return page.render(
        "invitation.html",
        403 if problem else 200,
        invitation=invitation,
        secret=secret,
        problem=problem,
        next=target,
    )


def _what(invitation: Invitation) -> str:
    """Return the address of what the user was invited to."""
    return f"/{quote(invitation.organization or invitation.repository)}"


async def own_invitations(page: PageRequest) -> Response:
    """List the invitations that the user can accept."""
    page.require_account()
    return await _own_page(page)


async def _own_page(page: PageRequest, problem: str = "") -> Response:
    listing = await page.site.hub.invitations.of_actor(page.actor, paging_of(page))
    return page.render(
        "invitations.html",
        403 if problem else 200,
        listing=listing,
        problem=problem,
        page_link=page_link(OWN),
        tabs=account_tabs(OWN),
    )


async def accept_invitation(page: PageRequest) -> Response:
    """Accept one of the user's invitations."""
    page.require_account()
    await page.form()
    try:
        invitation = await page.site.hub.invitations.accept(page.actor, page.request.path_params["invitation"])
    except Refused as error:
        return await _own_page(page, str(error))
    return page.redirect(_what(invitation), Flash.INVITATION_ACCEPTED)


async def decline_invitation(page: PageRequest) -> Response:
    """Decline one of the user's invitations."""
    page.require_account()
    await page.form()
    await page.site.hub.invitations.decline(page.actor, page.request.path_params["invitation"])
    return page.redirect(OWN, Flash.INVITATION_DECLINED)
