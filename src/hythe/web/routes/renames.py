"""Pages that rename and transfer: a repository, and an account with its former names and the offers to it."""

from urllib.parse import quote

from starlette.responses import Response

from hythe.hub.access.actions import HubAction
from hythe.hub.errors import Invalid, Refused, Taken
from hythe.hub.page import MAX_PAGE_SIZE, Paging
from hythe.hub.renaming.transfers import NewTransfer
from hythe.hub.repositories.repository import Repository
from hythe.web.flashes import Flash
from hythe.web.routes.account import account_tabs
from hythe.web.routes.form import Form, FormRejected, prefilled, submitted
from hythe.web.routes.navigation import page_link, paging_of
from hythe.web.routes.organizations import organization_name, organization_tabs
from hythe.web.routes.page_request import PageRequest
from hythe.web.routes.repositories import repository_of, repository_tabs
from hythe.web.templates import repository_address


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
        new = await submitted(form, renaming)
    except FormRejected as failed:
        return await _repository_page(page, found, failed.form, failed.status)
    renamed = await page.site.hub.repositories.get(page.actor, new)
    return page.redirect(repository_address(renamed), Flash.RENAMED)


async def _transfer(page: PageRequest, found: Repository, form: Form) -> Response:
    new = NewTransfer(form["to"].strip()[:40])
    done = await submitted(form, page.site.hub.transfers.transfer(page.actor, found.full_name, new))
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


async def names(page: PageRequest) -> Response:
    """Rename an account; list its former names and the repositories that are offered to it."""
    name = await _account(page)
    if page.request.method != "POST":
        return await _names_page(page, name, prefilled(name=name))
    form = await page.form()
    new = form["name"].strip()
    try:
        await submitted(form, page.site.hub.renames.rename_account(page.actor, name, new))
    except FormRejected as failed:
        return await _names_page(page, name, failed.form, failed.status)
    return page.redirect(_address(page, new), Flash.RENAMED)


async def _account(page: PageRequest) -> str:
    """Return the account that the page is about: the organization in the address, or the user's own."""
    if "namespace" not in page.request.path_params:
        return page.name
    name = organization_name(page)
    await page.site.hub.access.require_organization(page.actor, name, HubAction.VIEW_REDIRECTS)
    return name


def _address(page: PageRequest, name: str) -> str:
    return f"/{quote(name)}/-/names" if "namespace" in page.request.path_params else "/account/names"


async def _names_page(page: PageRequest, name: str, form: Form, status: int = 200) -> Response:
    hub, address = page.site.hub, _address(page, name)
    shown = {
        "form": form,
        "address": address,
        "former_accounts": await hub.renames.former_accounts(page.actor, name),
        "redirects": await hub.renames.redirects(page.actor, name, paging_of(page)),
        "page_link": page_link(address),
        "offers": (await hub.transfers.offers_to(page.actor, name, Paging(page_size=MAX_PAGE_SIZE))).items,
    }
    if "namespace" not in page.request.path_params:
        return page.render("account-names.html", status, **shown, tabs=account_tabs(address))
    tabs = await organization_tabs(page, name, "/-/names")
    return page.render("organization-names.html", status, **shown, namespace=name, tabs=tabs)


async def end_redirect(page: PageRequest) -> Response:
    """End the redirect of a former name."""
    name = await _account(page)
    form = await page.form()
    try:
        await page.site.hub.renames.end_redirect(page.actor, form["former"])
    except Refused as error:
        return await _names_page(page, name, prefilled(name=name).with_errors({"": str(error)}), error.status)
    return page.redirect(_address(page, name), Flash.REDIRECT_ENDED)


async def answer_offer(page: PageRequest) -> Response:
    """Accept or decline an offered repository."""
    name = await _account(page)
    form = await page.form()
    offered: int = page.request.path_params["offered"]
    if form["action"] != "accept":
        await page.site.hub.transfers.decline(page.actor, name, offered)
        return page.redirect(_address(page, name), Flash.OFFER_DECLINED)
    try:
        await page.site.hub.transfers.accept(page.actor, name, offered)
    except (Refused, Invalid, Taken) as error:
        return await _names_page(page, name, prefilled(name=name).with_errors({"": str(error)}), error.status)
    return page.redirect(f"/{quote(name)}", Flash.TRANSFERRED)
