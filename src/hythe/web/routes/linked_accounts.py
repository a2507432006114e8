"""Linked accounts: list, link through the forge's OAuth page or with a token, and unlink."""

from starlette.responses import RedirectResponse, Response

from hythe.builds.forge_integration.errors import ForgeRequestFailed
from hythe.hub.errors import Invalid, NotFound, Refused
from hythe.web.flashes import Flash
from hythe.web.routes.account import account_tabs
from hythe.web.routes.form import Form
from hythe.web.routes.page_request import PageRequest

ADDRESS = "/account/linked-accounts"


async def linked_accounts(page: PageRequest) -> Response:
    """List the linked accounts, or link one with a token."""
    form = Form()
    if page.request.method == "POST":
        form = await page.form()
        try:
            await page.site.forges.linked_accounts.add_token(page.actor, form["url"], form["token"])
        except Invalid as error:
            form = form.with_errors(error.fields)
        except (ForgeRequestFailed, NotFound) as error:
            form = form.with_errors({"": str(error)})
        else:
            return page.redirect(ADDRESS, Flash.ACCOUNT_LINKED)
    return await _render(page, form)


async def _render(page: PageRequest, form: Form, problem: str = "") -> Response:
    service = page.site.forges.linked_accounts
    return page.render(
        "linked-accounts.html",
        422 if form.errors or problem else 200,
        form=form,
        problem=problem,
        accounts=await service.list_own(page.actor),
        offers=service.offers,
        tabs=account_tabs(ADDRESS),
    )


async def begin(page: PageRequest) -> Response:
    """Redirect to the forge's OAuth page, whose address comes from the settings."""
    query = page.request.query_params
    private = query.get("private") == "yes"
    where = page.site.forges.linked_accounts.authorization_url(
        page.actor, query.get("url", ""), page.site.url(page.request), private=private
    )
    return RedirectResponse(where, 303)


async def authorized(page: PageRequest) -> Response:
    """Link the account after the forge has redirected the user back."""
    query = page.request.query_params
    if "code" not in query:
        reason = query.get("error_description") or query.get("error") or "no reason given"
        return await _render(page, Form(), f"The forge refused access: {reason[:300]}")
    try:
        here = page.site.url(page.request)
        await page.site.forges.linked_accounts.complete_authorization(
            page.actor, here, query.get("state", ""), query["code"]
        )
    except (ForgeRequestFailed, Refused, NotFound) as error:
        return await _render(page, Form(), str(error))
    return page.redirect(ADDRESS, Flash.ACCOUNT_LINKED)


async def unlink(page: PageRequest) -> Response:
    """Ask for confirmation, or unlink and list what could not be removed at the forge."""
    account = await page.site.forges.linked_accounts.get(page.actor, page.request.path_params["linked_account"])
    removed = None
    if page.request.method == "POST":
        await page.form()
        removed = await page.site.forges.webhooks.unlink(page.actor, account.id)
    return page.render("unlink.html", account=account, removed=removed, tabs=account_tabs(ADDRESS))
