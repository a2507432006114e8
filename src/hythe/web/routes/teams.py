"""The teams of an organization: their members and their roles on repositories."""

from urllib.parse import quote, urlencode

from starlette.responses import Response

from hythe.hub.errors import HubError, Invalid, NotFound, Refused, Taken
from hythe.hub.organizations.team import TeamGrant
from hythe.hub.organizations.teams import DESCRIPTION_LENGTH, NewGrant, NewTeam, TeamChange
from hythe.hub.page import MAX_CURSOR_LENGTH, MAX_PAGE_SIZE, Page, Paging
from hythe.hub.roles import OrganizationRole
from hythe.web.flashes import Flash
from hythe.web.routes.form import Form, parse_form, prefilled
from hythe.web.routes.navigation import page_link, paging_of
from hythe.web.routes.organizations import organization_name, organization_tabs
from hythe.web.routes.page_request import PageRequest


def _address(page: PageRequest, *parts: str) -> str:
    return "/".join((f"/{quote(organization_name(page))}/-/teams", *map(quote, parts)))


async def _is_owner(page: PageRequest) -> bool:
    role = await page.site.hub.organizations.role(page.actor, organization_name(page))
    return role is OrganizationRole.OWNER


async def teams(page: PageRequest) -> Response:
    """List the teams, for members, or create one."""
    if page.request.method != "POST":
        return await _teams_page(page, Form())
    form = await page.form()
    new = NewTeam(form["name"].strip(), form["description"])
    try:
        made = await page.site.hub.teams.create(page.actor, organization_name(page), new)
    except (Invalid, Taken) as error:
        return await _teams_page(page, form.with_errors(error.fields))
    except Refused as error:
        return await _teams_page(page, form.with_errors({"": str(error)}), error.status)
    return page.redirect(_address(page, made.name), Flash.TEAM_CREATED)


async def _teams_page(page: PageRequest, form: Form, status: int = 422) -> Response:
    name = organization_name(page)
    return page.render(
        "teams.html",
        status if form.errors else 200,
        namespace=name,
        form=form,
        listing=await page.site.hub.teams.list(page.actor, name, paging_of(page)),
        owner=await _is_owner(page),
        description_length=DESCRIPTION_LENGTH,
        page_link=page_link(_address(page)),
        tabs=await organization_tabs(page, name, "/-/teams"),
    )


async def team(page: PageRequest) -> Response:
    """Show a team to members of the organization; rename or describe it."""
    name = page.request.path_params["team"]
    if page.request.method != "POST":
        return await _team_page(page)
    form = await page.form()
    change = TeamChange(form["name"].strip(), form["description"])
    try:
        changed = await page.site.hub.teams.change(page.actor, organization_name(page), name, change)
    except (Invalid, Taken) as error:
        return await _team_page(page, form.with_errors(error.fields))
    return page.redirect(_address(page, changed.name), Flash.TEAM_SAVED)


async def _team_page(page: PageRequest, form: Form | None = None, status: int = 422) -> Response:
    """Show a team. ``form``: one of its forms with errors, whose values are shown again with this status."""
    hub, organization, name = page.site.hub, organization_name(page), page.request.path_params["team"]
    found = await hub.teams.get(page.actor, organization, name)
    shown = form or prefilled(name=found.name, description=found.description)
    return page.render(
        "team.html",
        status if form else 200,
        namespace=organization,
        team=found,
        address=_address(page, found.name),
        form=shown,
        listing=await hub.teams.members(page.actor, organization, name, paging_of(page)),
        grants=await _grants(page),
        owner=await _is_owner(page),
        description_length=DESCRIPTION_LENGTH,
        page_link=page_link(_address(page, found.name)),
        grants_link=lambda cursor: f"{_address(page, found.name)}?{urlencode({'grants': cursor})}",
        tabs=await organization_tabs(page, organization, "/-/teams"),
    )


async def _grants(page: PageRequest) -> Page[TeamGrant] | None:
    """Return the grants of the team; None if the user may not see them."""
    organization, name = organization_name(page), page.request.path_params["team"]
    paging = Paging(page_size=MAX_PAGE_SIZE, cursor=page.request.query_params.get("grants", "")[:MAX_CURSOR_LENGTH])
    try:
        return await page.site.hub.teams.grants(page.actor, organization, name, paging)
    except (NotFound, Refused):
        return None


async def delete_team(page: PageRequest) -> Response:
    """Delete a team."""
    await page.form()
    await page.site.hub.teams.delete(page.actor, organization_name(page), page.request.path_params["team"])
    return page.redirect(_address(page), Flash.TEAM_DELETED)


async def add_team_member(page: PageRequest) -> Response:
    """Add a member of the organization to a team."""
    form = await page.form()
    name = page.request.path_params["team"]
    user = form["user"].strip()
    try:
        await page.site.hub.teams.add_member(page.actor, organization_name(page), name, user)
    except NotFound as error:
        return await _team_page(page, await _with_error(page, form, "user", error))
    return page.redirect(_address(page, name), Flash.TEAM_SAVED)


async def remove_team_member(page: PageRequest) -> Response:
    """Remove a member from a team."""
    await page.form()
    name, member = page.request.path_params["team"], page.request.path_params["member"]
    await page.site.hub.teams.remove_member(page.actor, organization_name(page), name, member)
    return page.redirect(_address(page, name), Flash.TEAM_SAVED)


async def grant(page: PageRequest) -> Response:
    """Give a team a role on a repository or a pattern."""
    form = await page.form()
    name = page.request.path_params["team"]
    try:
        new = parse_form(form, NewGrant, "repositories", "role")
        await page.site.hub.teams.grant(page.actor, organization_name(page), name, new)
    except (NotFound, Refused) as error:
        return await _team_page(page, await _with_error(page, form, "repositories", error), error.status)
    except Invalid as error:
        return await _team_page(page, (await _form_again(page, form)).with_errors(error.fields))
    return page.redirect(_address(page, name), Flash.TEAM_SAVED)


async def revoke(page: PageRequest) -> Response:
    """Take a role on a repository or a pattern from a team."""
    form = await page.form()
    name = page.request.path_params["team"]
    await page.site.hub.teams.revoke(page.actor, organization_name(page), name, form["repositories"])
    return page.redirect(_address(page, name), Flash.TEAM_SAVED)


async def _form_again(page: PageRequest, form: Form) -> Form:
    """Return a form with the team's own fields, which another form of the page has."""
    found = await page.site.hub.teams.get(page.actor, organization_name(page), page.request.path_params["team"])
    return Form({**form.fields, "name": (found.name,), "description": (found.description,)})


async def _with_error(page: PageRequest, form: Form, field: str, error: HubError) -> Form:
    return (await _form_again(page, form)).with_errors({field: str(error)})
