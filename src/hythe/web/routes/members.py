"""The people of an organization: its members and their roles."""

from urllib.parse import quote

from starlette.responses import Response

from hythe.hub.errors import Refused
from hythe.hub.organizations.members import MemberChange
from hythe.hub.roles import OrganizationRole
from hythe.web.flashes import Flash
from hythe.web.routes.form import parse_form
from hythe.web.routes.navigation import page_link, paging_of
from hythe.web.routes.organizations import organization_name, organization_tabs
from hythe.web.routes.page_request import PageRequest


async def people(page: PageRequest) -> Response:
    """List the members, for members."""
    return await _people_page(page)


async def _people_page(page: PageRequest, problem: str = "") -> Response:
    name = organization_name(page)
    listing = await page.site.hub.members.list(page.actor, name, paging_of(page))
    role = await page.site.hub.organizations.role(page.actor, name)
    return page.render(
        "people.html",
        403 if problem else 200,
        namespace=name,
        listing=listing,
        owner=role is OrganizationRole.OWNER,
        problem=problem,
        page_link=page_link(f"/{quote(name)}/-/people"),
        tabs=await organization_tabs(page, name, "/-/people"),
    )


async def change_member(page: PageRequest) -> Response:
    """Change the role of a member."""
    form = await page.form()
    name, member = organization_name(page), page.request.path_params["member"]
    try:
        await page.site.hub.members.set_role(page.actor, name, member, parse_form(form, MemberChange, "role"))
    except Refused as error:
        return await _people_page(page, str(error))
    return page.redirect(f"/{quote(name)}/-/people", Flash.MEMBER_SAVED)


async def remove_member(page: PageRequest) -> Response:
    """Remove a member."""
    await page.form()
    name, member = organization_name(page), page.request.path_params["member"]
    try:
        await page.site.hub.members.remove(page.actor, name, member)
    except Refused as error:
        return await _people_page(page, str(error))
    return page.redirect(f"/{quote(name)}/-/people", Flash.MEMBER_REMOVED)
