"""Pages that rename and transfer: a repository, and the user's own account with its redirects and offers."""

from collections.abc import Awaitable
from typing import TypeVar

from starlette.responses import Response

from hythe.hub.access.actions import HubAction
from hythe.hub.errors import Invalid, Refused, Taken, TooManyAttempts
from hythe.hub.page import Paging
from hythe.hub.renaming.transfers import NewTransfer
from hythe.hub.repositories.repository import Repository
from hythe.web.flashes import Flash
from hythe.web.routes.account import account_tabs
from hythe.web.routes.form import Form, prefilled
from hythe.web.routes.page_request import PageRequest
from hythe.web.routes.repositories import repository_of, repository_tabs
from hythe.web.templates import repository_address

T = TypeVar("T")

SHOWN = 100
"""Redirects and offers on the page; the API lists all."""


class _Failed(Exception):
    """The form has errors; ``form`` shows them."""

    def __init__(self, form: Form, status: int) -> None:
        self.form = form
        self.status = status
        super().__init__()


async def _submitted(form: Form, work: Awaitable[T]) -> T:
    """Await the change that a form asks for. Raises _Failed."""
    try:
        return await work
    except (Invalid, Taken) as error:
        raise _Failed(form.with_errors(error.fields), error.status) from error
    except (Refused, TooManyAttempts) as error:
        raise _Failed(form.with_errors({"": str(error)}), error.status) from error


async def repository(page: PageRequest) -> Response:
    """Rename a repository or give it another owner."""
    found = await repository_of(page)
    await page.site.hub.access.require_repository(page.actor, found.full_name, HubAction.RENAME_REPOSITORY)
    if page.request.method != "POST":
        return await _repository_page(page, found, prefilled(name=found.name))
    form = await page.form()
    try:
        if form["action"] == "transfer":
            return await _transfer(page, found, form)
        renaming = page.site.hub.renames.rename_repository(page.actor, found.full_name, form["name"].strip())
        new = await _submitted(form, renaming)
    except _Failed as failed:
        return await _repository_page(page, found, failed.form, failed.status)
    renamed = await page.site.hub.repositories.get(page.actor, new)
    return page.redirect(repository_address(renamed), Flash.RENAMED)


async def _transfer(page: PageRequest, found: Repository, form: Form) -> Response:
    new = NewTransfer(form["to"].strip()[:40])
    done = await _submitted(form, page.site.hub.transfers.transfer(page.actor, found.full_name, new))
    if not done.done:
        return page.redirect(f"{repository_address(found)}/-/rename", Flash.OFFERED)
    return page.redirect("/", Flash.TRANSFERRED)


async def _repository_page(page: PageRequest, found: Repository, form: Form, status: int = 200) -> Response:
    hub = page.site.hub
    return page.render(
        "repository-rename.html",
        status,
        repository=found,
        form=form,
        may_transfer=await hub.access.may(page.actor, found.full_name, HubAction.TRANSFER_REPOSITORY),
        tabs=await repository_tabs(page, found, f"{repository_address(found)}/-/settings"),
    )


async def account(page: PageRequest) -> Response:
    """Rename the account; list former names and offered repositories."""
    page.require_account()
    if page.request.method != "POST":
        return await _account_page(page, prefilled(name=page.name))
    form = await page.form()
    try:
        await _submitted(form, page.site.hub.renames.rename_account(page.actor, page.name, form["name"].strip()))
    except _Failed as failed:
        return await _account_page(page, failed.form, failed.status)
    return page.redirect("/account/names", Flash.RENAMED)


async def _account_page(page: PageRequest, form: Form, status: int = 200) -> Response:
    hub = page.site.hub
    paging = Paging(1, SHOWN)
    return page.render(
        "account-names.html",
        status,
        form=form,
        redirects=(
            *await hub.renames.former_accounts(page.actor, page.name),
            *(await hub.renames.redirects(page.actor, page.name, paging)).items,
        ),
        offers=(await hub.transfers.offers_to(page.actor, page.name, paging)).items,
        tabs=account_tabs("/account/names"),
    )


async def end_redirect(page: PageRequest) -> Response:
    """End the redirect of a former name."""
    page.require_account()
    form = await page.form()
    await page.site.hub.renames.end_redirect(page.actor, form["former"])
    return page.redirect("/account/names", Flash.REDIRECT_ENDED)


async def answer_offer(page: PageRequest) -> Response:
    """Accept or decline an offered repository."""
    page.require_account()
    form = await page.form()
    offered: int = page.request.path_params["offered"]
    if form["action"] != "accept":
        await page.site.hub.transfers.decline(page.actor, page.name, offered)
        return page.redirect("/account/names", Flash.OFFER_DECLINED)
    await page.site.hub.transfers.accept(page.actor, page.name, offered)
    return page.redirect(f"/{page.name}", Flash.TRANSFERRED)
