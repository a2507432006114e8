"""Invitations: the link in an e-mail, one's own, and those of an organization."""

from urllib.parse import quote

from starlette.responses import Response

from hythe.hub.access.actions import HubAction
from hythe.hub.errors import Invalid, NotFound, Refused, Taken, TooManyAttempts
from hythe.hub.organizations.invitations import LINK_PATH, NewInvitation
from hythe.hub.page import MAX_PAGE_SIZE, Paging
from hythe.hub.repositories.collaborator import Invitation
from hythe.web.flashes import Flash
from hythe.web.routes.account import account_tabs
from hythe.web.routes.form import Form, parse_values, prefilled
from hythe.web.routes.navigation import page_link, paging_of
from hythe.web.routes.organizations import organization_name, organization_tabs
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
    secret = form["token"][:LONGEST_SECRET]
    if form["action"] == "decline":
        await invitations.decline_link(page.actor, secret)
        return page.redirect(OWN, Flash.INVITATION_DECLINED)
    try:
        invitation = await invitations.accept_link(page.actor, secret)
    except Refused as error:
        return await _link_page(page, secret, str(error))
    return page.redirect(_offered_address(invitation), Flash.INVITATION_ACCEPTED)


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


def _offered_address(invitation: Invitation) -> str:
    """Return the address of the organization or repository."""
    return f"/{quote(invitation.organization or invitation.repository)}"


async def own_invitations(page: PageRequest) -> Response:
    """List the invitations that the user can accept."""
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
    await page.form()
    try:
        invitation = await page.site.hub.invitations.accept(page.actor, page.request.path_params["invitation"])
    except Refused as error:
        return await _own_page(page, str(error))
    return page.redirect(_offered_address(invitation), Flash.INVITATION_ACCEPTED)


async def decline_invitation(page: PageRequest) -> Response:
    """Decline one of the user's invitations."""
    await page.form()
    await page.site.hub.invitations.decline(page.actor, page.request.path_params["invitation"])
    return page.redirect(OWN, Flash.INVITATION_DECLINED)


async def of_organization(page: PageRequest) -> Response:
    """List the pending invitations to an organization, or invite by user name or e-mail."""
    name = organization_name(page)
    await page.site.hub.access.require_organization(page.actor, name, HubAction.VIEW_INVITATIONS)
    if page.request.method != "POST":
        return await _organization_page(page, name, prefilled(role="member"))
    form = await page.form()
    try:
        await page.site.hub.invitations.invite(page.actor, name, _new_invitation(form))
    except (Invalid, Taken) as error:
        # The form has one field for both.
        errors = {{"username": "invited", "email": "invited"}.get(key, key): text for key, text in error.fields.items()}
        return await _organization_page(page, name, form.with_errors(errors))
    except (Refused, TooManyAttempts) as error:
        return await _organization_page(page, name, form.with_errors({"": str(error)}))
    return page.redirect(f"/{quote(name)}/-/invitations", Flash.INVITATION_SENT)


def _new_invitation(form: Form) -> NewInvitation:
    invited = form["invited"].strip()
    invited_as = {"email": invited} if "@" in invited else {"username": invited}
    return parse_values({**invited_as, "role": form["role"], "team": form["team"]}, NewInvitation)


async def _organization_page(page: PageRequest, name: str, form: Form) -> Response:
    hub = page.site.hub
    teams = await hub.teams.list(page.actor, name, Paging(page_size=MAX_PAGE_SIZE))
    return page.render(
        "organization-invitations.html",
        422 if form.errors else 200,
        namespace=name,
        form=form,
        teams=[("", "None"), *((each.name, each.name) for each in teams.items)],
        listing=await hub.invitations.of_organization(page.actor, name, paging_of(page)),
        page_link=page_link(f"/{quote(name)}/-/invitations"),
        tabs=await organization_tabs(page, name, "/-/invitations"),
    )


async def cancel_invitation(page: PageRequest) -> Response:
    """Cancel an invitation to an organization."""
    await page.form()
    name = organization_name(page)
    await page.site.hub.invitations.cancel(page.actor, name, page.request.path_params["invitation"])
    return page.redirect(f"/{quote(name)}/-/invitations", Flash.INVITATION_CANCELLED)
