"""The collaborators of a repository: users with a role on it, and those invited."""

from starlette.responses import Response

from hythe.hub.access.actions import HubAction
from hythe.hub.errors import Invalid, Refused, TooManyAttempts
from hythe.hub.page import MAX_PAGE_SIZE, Paging
from hythe.hub.repositories.collaborators import CollaboratorChange, NewCollaborator
from hythe.hub.repositories.repository import Repository
from hythe.web.flashes import Flash
from hythe.web.routes.form import Form, parse_form, parse_values, prefilled
from hythe.web.routes.navigation import page_link, paging_of
from hythe.web.routes.page_request import PageRequest
from hythe.web.routes.repositories import repository_of, repository_tabs
from hythe.web.templates import repository_address


def _address(repository: Repository) -> str:
    return f"{repository_address(repository)}/-/collaborators"


async def collaborators(page: PageRequest) -> Response:
    """List the collaborators and pending invitations, or add or invite a user."""
    repository = await repository_of(page)
    await page.site.hub.access.require_repository(page.actor, repository.full_name, HubAction.VIEW_COLLABORATORS)
    if page.request.method != "POST":
        return await _page(page, repository, prefilled(role="write"))
    form = await page.form()
    try:
        new = parse_values({"username": form["username"].strip(), "role": form["role"]}, NewCollaborator)
        added = await page.site.hub.collaborators.add(page.actor, repository.full_name, new)
    except Invalid as error:
        return await _page(page, repository, form.with_errors(error.fields))
    except (Refused, TooManyAttempts) as error:
        return await _page(page, repository, form.with_errors({"": str(error)}))
    flash = Flash.INVITATION_SENT if added.pending else Flash.COLLABORATOR_SAVED
    return page.redirect(_address(repository), flash)


async def _page(page: PageRequest, repository: Repository, form: Form) -> Response:
    service, name = page.site.hub.collaborators, repository.full_name
    return page.render(
        "collaborators.html",
        422 if form.errors else 200,
        repository=repository,
        form=form,
        listing=await service.list(page.actor, name, paging_of(page)),
        invitations=await service.invitations(page.actor, name, Paging(page_size=MAX_PAGE_SIZE)),
        address=_address(repository),
        page_link=page_link(_address(repository)),
        tabs=await repository_tabs(page, repository, _address(repository)),
    )


async def change_collaborator(page: PageRequest) -> Response:
    """Change the role of a collaborator."""
    form = await page.form()
    repository = await repository_of(page)
    change = parse_form(form, CollaboratorChange, "role")
    user = page.request.path_params["collaborator"]
    await page.site.hub.collaborators.set_role(page.actor, repository.full_name, user, change)
    return page.redirect(_address(repository), Flash.COLLABORATOR_SAVED)


async def remove_collaborator(page: PageRequest) -> Response:
    """Remove a collaborator, or withdraw an invitation."""
    await page.form()
    repository = await repository_of(page)
    user = page.request.path_params["collaborator"]
    await page.site.hub.collaborators.remove(page.actor, repository.full_name, user)
    return page.redirect(_address(repository), Flash.COLLABORATOR_REMOVED)
