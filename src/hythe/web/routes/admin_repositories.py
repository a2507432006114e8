"""The pages on which administrators find any repository, open it, take it down, hand it over or delete it."""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from hythe.hub.access.actions import HubAction
from hythe.hub.accounts.namespaces import canonical_name
from hythe.hub.administration.administrator_access import MAX_OPENING_REASON
from hythe.hub.administration.all_repositories import MAX_BEGINNING
from hythe.hub.administration.takedowns import MAX_REASON, TakedownReason
from hythe.hub.errors import Invalid
from hythe.hub.renaming.transfers import NewTransfer
from hythe.hub.sql.all_repositories import AdministeredRepository
from hythe.web.flashes import Flash
from hythe.web.routes.administration import action_page, administration_page, searched_text
from hythe.web.routes.form import Form, FormRejected, parse_values, prefilled, submitted
from hythe.web.routes.navigation import page_link, paging_of
from hythe.web.routes.page_request import PageRequest
from hythe.web.routes.page_route import PageRoute

REPOSITORIES = "/admin/repositories"
TAKEN_DOWN = "/admin/repositories/-/taken-down"


def administered_address(repository: str) -> str:
    """Return the path of the page on which administrators work on a repository."""
    return f"{REPOSITORIES}/{quote(repository)}"


async def repositories(page: PageRequest) -> Response:
    """Find repositories by the beginning of their names."""
    text, official = searched_text(page, MAX_BEGINNING), page.request.query_params.get("show") == "official"
    query = {"q": text, "show": "official" if official else ""}
    every = page.site.hub.hub_administration.repositories
    return administration_page(
        page,
        "admin-repositories.html",
        REPOSITORIES,
        prefilled(**query),
        listing=await every.find(page.actor, text, paging_of(page), official=official),
        page_link=page_link(REPOSITORIES, **query),
    )


async def taken_down(page: PageRequest) -> Response:
    """List the repositories that are taken down, the last one first."""
    return administration_page(
        page,
        "admin-taken-down.html",
        REPOSITORIES,
        listing=await page.site.hub.hub_administration.takedowns.list(page.actor, paging_of(page)),
        page_link=page_link(TAKEN_DOWN),
    )


async def repository(page: PageRequest) -> Response:
    """Show the state of a repository, with what administrators can do to it."""
    return await _repository_page(page, Form())


async def _found(page: PageRequest) -> AdministeredRepository:
    """Return the repository in the address. Raises NotFound."""
    name = page.request.path_params["repository"]
    return await page.site.hub.hub_administration.repositories.get(page.actor, name)


async def _repository_page(page: PageRequest, form: Form, status: int = 0) -> Response:
    found = await _found(page)
    context = await page.site.hub.access.context(page.actor, canonical_name(found.repository))
    return administration_page(
        page,
        "admin-repository.html",
        REPOSITORIES,
        form,
        status,
        repository=found,
        opened_until=context.opened_until,
        address=administered_address(found.repository),
        max_reason=MAX_OPENING_REASON,
    )


async def open_repository(page: PageRequest) -> Response:
    """Let the administrator read a repository for an hour."""
    form = await page.form()
    found = await _found(page)
    if not form["reason"].strip():
        return await _repository_page(page, form.with_errors({"reason": "is required: the owners read it"}))
    access = page.site.hub.hub_administration.access
    try:
        await submitted(form, access.open(page.actor, found.repository, form["reason"]))
    except FormRejected as rejected:
        return await _repository_page(page, rejected.form, rejected.status)
    return page.redirect(administered_address(found.repository), Flash.REPOSITORY_OPENED)


async def close_repository(page: PageRequest) -> Response:
    """End the access of the administrator early."""
    await page.form()
    found = await _found(page)
    await page.site.hub.hub_administration.access.close(page.actor, found.repository)
    return page.redirect(administered_address(found.repository), Flash.REPOSITORY_CLOSED)


async def take_down(page: PageRequest) -> Response:
    """Ask for the reason, and take a repository down."""
    found = await _found(page)

    async def work(form: Form) -> str:
        takedowns, reason = page.site.hub.hub_administration.takedowns, TakedownReason(form["reason"])
        await takedowns.take_down(page.actor, found.repository, reason)
        return administered_address(found.repository)

    return await _action_page(
        page, "admin-repository-take-down.html", found, work, Flash.TAKEN_DOWN, max_reason=MAX_REASON
    )


async def restore(page: PageRequest) -> Response:
    """Restore a repository that was taken down."""
    form = await page.form()
    found = await _found(page)
    try:
        await submitted(form, page.site.hub.hub_administration.takedowns.restore(page.actor, found.repository))
    except FormRejected as rejected:
        return await _repository_page(page, rejected.form, rejected.status)
    return page.redirect(administered_address(found.repository), Flash.RESTORED)


async def hand_over(page: PageRequest) -> Response:
    """Ask for the new owner, and give the repository to them; a confirmation comes first, as it loses filled forms."""
    await page.site.hub.confirmations.require_on_hub(page.actor, HubAction.HAND_OVER_REPOSITORY)
    found = await _found(page)

    async def work(form: Form) -> str:
        new = parse_values({"to": form["to"].strip(), "name": form["name"].strip()}, NewTransfer)
        done = await page.site.hub.hub_administration.takedowns.hand_over(page.actor, found.repository, new)
        return administered_address(done.repository)

    return await _action_page(page, "admin-repository-hand-over.html", found, work, Flash.HANDED_OVER)


async def set_official(page: PageRequest) -> Response:
    """Mark a repository as official, or end that."""
    form = await page.form()
    found = await _found(page)
    takedowns = page.site.hub.hub_administration.takedowns
    await takedowns.set_official(page.actor, found.repository, official=form["official"] == "yes")
    return page.redirect(administered_address(found.repository), Flash.OFFICIAL_SAVED)


async def delete(page: PageRequest) -> Response:
    """Ask for the reason and the name, and delete a repository if it was typed."""
    found = await _found(page)

    async def work(form: Form) -> str:
        if form["confirm"].strip() not in {found.repository, canonical_name(found.repository)}:
            raise Invalid({"confirm": f"must be {found.repository}"})
        takedowns, reason = page.site.hub.hub_administration.takedowns, TakedownReason(form["reason"])
        await takedowns.delete(page.actor, found.repository, reason)
        return REPOSITORIES

    return await _action_page(
        page, "admin-repository-delete.html", found, work, Flash.REPOSITORY_DELETED, max_reason=MAX_REASON
    )


async def _action_page(
    page: PageRequest,
    template: str,
    found: AdministeredRepository,
    work: Callable[[Form], Awaitable[str]],
    flash: Flash,
    **values: Any,
) -> Response:
    address = administered_address(found.repository)
    return await action_page(page, template, REPOSITORIES, work, flash, repository=found, address=address, **values)


_REPOSITORY = f"{REPOSITORIES}/{{repository:path}}"

PAGES = (
    PageRoute(REPOSITORIES, repositories, get=HubAction.VIEW_ALL_REPOSITORIES),
    PageRoute(TAKEN_DOWN, taken_down, get=HubAction.VIEW_TAKEN_DOWN),
    PageRoute(f"{_REPOSITORY}/-/open", open_repository, post=HubAction.OPEN_REPOSITORY),
    PageRoute(f"{_REPOSITORY}/-/close", close_repository, post=HubAction.OPEN_REPOSITORY),
    PageRoute(
        f"{_REPOSITORY}/-/take-down",
        take_down,
        get=HubAction.TAKE_DOWN_REPOSITORY,
        post=HubAction.TAKE_DOWN_REPOSITORY,
    ),
    PageRoute(f"{_REPOSITORY}/-/restore", restore, post=HubAction.RESTORE_REPOSITORY),
    PageRoute(
        f"{_REPOSITORY}/-/hand-over",
        hand_over,
        get=HubAction.HAND_OVER_REPOSITORY,
        post=HubAction.HAND_OVER_REPOSITORY,
    ),
    PageRoute(f"{_REPOSITORY}/-/official", set_official, post=HubAction.SET_OFFICIAL),
    PageRoute(f"{_REPOSITORY}/-/delete", delete, get=HubAction.REMOVE_REPOSITORY, post=HubAction.REMOVE_REPOSITORY),
    PageRoute(_REPOSITORY, repository, get=HubAction.VIEW_ALL_REPOSITORIES),
)
