"""Organizations: create one, list and leave one's own, their settings, and the conversion of an account."""

from urllib.parse import quote

from starlette.responses import Response

from hythe.hub.access.actions import HubAction
from hythe.hub.accounts.namespaces import NAME_RULE
from hythe.hub.errors import ConfirmationNeeded, Invalid, NotFound, Refused, Taken
from hythe.hub.organizations.organization import Organization
from hythe.hub.organizations.organizations import Conversion, NewOrganization, OrganizationChange
from hythe.hub.page import MAX_PAGE_SIZE, Paging
from hythe.hub.roles import OrganizationRole
from hythe.oci.reference import DEFAULT_NAMESPACE
from hythe.web.flashes import Flash
from hythe.web.routes.account import account_tabs
from hythe.web.routes.form import Form, parse_values, prefilled
from hythe.web.routes.navigation import Tab, page_link, paging_of, tabs
from hythe.web.routes.page_request import PageRequest

OWN = "/account/organizations"


async def new_organization(page: PageRequest) -> Response:
    """Show the form, or create an organization."""
    form = Form()
    if page.request.method == "POST":
        form = await page.form()
        try:
            made = await page.site.hub.organizations.create(page.actor, NewOrganization(form["name"].strip()))
        except (Invalid, Taken) as error:
            form = form.with_errors(error.fields)
        except ConfirmationNeeded:
            raise
        except Refused as error:
            form = form.with_errors({"": str(error)})
        else:
            return page.redirect(f"/{made.name}/-/people", Flash.ORGANIZATION_CREATED)
    may_create = await page.site.hub.organizations.may_create(page.actor)
    status = 422 if form.errors else 200
    return page.render("new-organization.html", status, form=form, may_create=may_create, name_rule=NAME_RULE)


async def own_organizations(page: PageRequest) -> Response:
    """List the organizations that the user is a member of."""
    return await _own_page(page)


async def _own_page(page: PageRequest, problem: str = "") -> Response:
    organizations = page.site.hub.organizations
    return page.render(
        "organizations.html",
        403 if problem else 200,
        listing=await organizations.of_actor(page.actor, paging_of(page)),
        may_create=await organizations.may_create(page.actor),
        problem=problem,
        page_link=page_link(OWN),
        tabs=account_tabs(OWN),
    )


async def leave_organization(page: PageRequest) -> Response:
    """Leave an organization."""
    await page.form()
    try:
        await page.site.hub.members.leave(page.actor, page.request.path_params["organization"])
    except Refused as error:
        return await _own_page(page, str(error))
    return page.redirect(OWN, Flash.ORGANIZATION_LEFT)


async def convert(page: PageRequest) -> Response:
    """Show what a conversion means, or turn the user's account into an organization; they are signed out."""
    await page.site.hub.confirmations.require(page.actor)
    form = Form()
    if page.request.method == "POST":
        form = await page.form()
        try:
            conversion = Conversion(form["owner"].strip(), form["confirm"].strip())
            await page.site.hub.organizations.convert(page.actor, conversion)
        except Invalid as error:
            form = form.with_errors(error.fields)
        except Refused as error:
            form = form.with_errors({"": str(error)})
        else:
            return page.end_session(page.redirect(f"/{page.name}", Flash.ACCOUNT_CONVERTED))
    return page.render("conversion.html", 422 if form.errors else 200, form=form, tabs=account_tabs(OWN))


async def creatable_namespaces(page: PageRequest, chosen: str) -> list[tuple[str, str]]:
    """Return the names, with titles, of the namespaces in which the user may create repositories.

    ``chosen`` is among them if the user is a member there: a pattern of a team may allow some names.
    """
    memberships = await page.site.hub.organizations.of_actor(page.actor, Paging(page_size=MAX_PAGE_SIZE))
    found = [each.organization for each in memberships.items if each.may_create or each.organization == chosen]
    return [(name, f"{name}/") for name in (page.name, *sorted(found))]


def organization_name(page: PageRequest) -> str:
    """Return the name of the organization in the address."""
    return str(page.request.path_params["namespace"])


async def organization_tabs(page: PageRequest, name: str, current: str) -> tuple[Tab, ...]:
    """Return the tabs of an organization that the user has access to; ``current`` is a path below its own."""
    role = await page.site.hub.organizations.role(page.actor, name)
    own = f"/{quote(name)}"
    pages = [(own, "Repositories")]
    if role is not None:
        pages += [(f"{own}/-/people", "People"), (f"{own}/-/teams", "Teams")]
    if role is OrganizationRole.OWNER:
        owned = (
            ("invitations", "Invitations"),
            ("names", "Names"),
            ("audit", "Audit log"),
            ("settings", "Settings"),
        )
        pages += [(f"{own}/-/{path}", title) for path, title in owned]
    return tabs(f"{own}{current}", *pages)


async def settings(page: PageRequest) -> Response:
    """Show the settings of an organization, or save them."""
    name = organization_name(page)
    try:
        await page.site.hub.access.require_organization(page.actor, name, HubAction.CHANGE_ORGANIZATION)
    except NotFound:
        # This is also the short address of an official image's settings.
        await page.site.hub.repositories.get(page.actor, name)
        return page.redirect(f"/{DEFAULT_NAMESPACE}/{quote(name)}/-/settings")
    current = await page.site.hub.organizations.get(page.actor, name)
    if page.request.method != "POST":
        return await _settings_page(page, name, _form_of(current))
    form = await page.form()
    try:
        await page.site.hub.organizations.change(page.actor, name, _change(form))
    except Invalid as error:
        return await _settings_page(page, name, form.with_errors(error.fields))
    return page.redirect(f"/{quote(name)}/-/settings", Flash.ORGANIZATION_SAVED)


def _form_of(organization: Organization) -> Form:
    return prefilled(
        default_visibility=organization.default_visibility.value,
        member_role=organization.member_role.value,
        members_create="yes" if organization.members_create else "",
        require_second_factor="yes" if organization.require_second_factor else "",
    )


def _change(form: Form) -> OrganizationChange:
    values = {
        "default_visibility": form["default_visibility"],
        "member_role": form["member_role"],
        "members_create": form["members_create"] == "yes",
        "require_second_factor": form["require_second_factor"] == "yes",
    }
    return parse_values(values, OrganizationChange)


async def _settings_page(page: PageRequest, name: str, form: Form) -> Response:
    return page.render(
        "organization-settings.html",
        422 if form.errors else 200,
        namespace=name,
        form=form,
        account=await page.site.hub.organizations.account(page.actor, name),
        tabs=await organization_tabs(page, name, "/-/settings"),
    )


async def delete_organization(page: PageRequest) -> Response:
    """Delete an organization if its name was typed."""
    name = organization_name(page)
    form = await page.form()
    await page.site.hub.access.require_organization(page.actor, name, HubAction.DELETE_ORGANIZATION)
    try:
        await page.site.hub.organizations.delete(page.actor, name, form["confirm"].strip())
    except Invalid as error:
        shown = _form_of(await page.site.hub.organizations.get(page.actor, name))
        return await _settings_page(page, name, shown.with_errors(error.fields))
    return page.redirect(OWN, Flash.ORGANIZATION_DELETED)
