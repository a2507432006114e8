"""Two-factor authentication of one's own account: authenticator app, passkeys, recovery codes."""

from collections.abc import Awaitable

import msgspec
from starlette.responses import Response

from hythe.hub.errors import ConfirmationNeeded, Invalid, NotFound, Refused
from hythe.hub.sign_in.second_factors import NewApp, qr_code
from hythe.hub.sign_in.sign_in_states import StateExpired
from hythe.web.flashes import Flash
from hythe.web.routes.account import account_tabs
from hythe.web.routes.form import Form, prefilled
from hythe.web.routes.page_request import PageRequest

ADDRESS = "/account/two-factor"


async def second_factors(page: PageRequest) -> Response:
    """Show the second factors."""
    return await _overview(page)


async def _overview(page: PageRequest, codes: tuple[str, ...] = (), problem: Refused | None = None) -> Response:
    """Show the second factors, with new recovery codes or why a change was refused."""
    factors = await page.site.hub.second_factors.get(page.actor)
    form = Form(errors={"": str(problem)}) if problem else Form()
    status = problem.status if problem else 200
    return page.render("two-factor.html", status, factors=factors, codes=codes, form=form, tabs=account_tabs(ADDRESS))


async def app(page: PageRequest) -> Response:
    """Show a new secret for an authenticator app, or activate it by a code."""
    service = page.site.hub.second_factors
    if page.request.method != "POST":
        return await _app_page(page, await service.new_app(page.actor, page.host), Form())
    form = await page.form()
    try:
        codes = await service.activate_app(page.actor, form["state"], form["code"])
    except StateExpired:
        return page.redirect(f"{ADDRESS}/app")
    except Invalid as error:
        same = service.same_app(page.actor, form["state"], page.host)
        return await _app_page(page, same, form.with_errors(error.fields))
    return await _overview(page, codes)


async def _app_page(page: PageRequest, new: NewApp, form: Form) -> Response:
    return page.render(
        "two-factor-app.html",
        422 if form.errors else 200,
        form=form,
        app=new,
        qr_code=await qr_code(new),
        tabs=account_tabs(ADDRESS),
    )


async def remove_app(page: PageRequest) -> Response:
    """Remove the authenticator app."""
    await page.form()
    return await _removed(page, page.site.hub.second_factors.remove_app(page.actor))


async def recovery_codes(page: PageRequest) -> Response:
    """Replace the recovery codes and show the new ones once."""
    await page.form()
    return await _overview(page, await page.site.hub.second_factors.new_recovery_codes(page.actor))


async def new_passkey(page: PageRequest) -> Response:
    """Show the form for a new passkey, or add it."""
    service = page.site.hub.second_factors
    form = Form()
    if page.request.method == "POST":
        form = await page.form()
        try:
            _, codes = await service.add_passkey(page.actor, page.relying_party, form["name"], form["credential"])
        except Invalid as error:
            form = form.with_errors(error.fields)
        except StateExpired as error:
            form = form.with_errors({"": str(error)})
        else:
            return await _overview(page, codes)
    options = await service.passkey_options(page.actor, page.relying_party)
    return page.render(
        "passkey-new.html",
        422 if form.errors else 200,
        form=form,
        options=msgspec.json.encode(options).decode(),
        tabs=account_tabs(ADDRESS),
    )


async def rename_passkey(page: PageRequest) -> Response:
    """Show the form with the name of a passkey, or rename it."""
    service, number = page.site.hub.second_factors, page.request.path_params["passkey"]
    if page.request.method == "POST":
        form = await page.form()
        try:
            await service.rename_passkey(page.actor, number, form["name"])
        except Invalid as error:
            form = form.with_errors(error.fields)
        else:
            return page.redirect(ADDRESS, Flash.PASSKEY_RENAMED)
    else:
        passkeys = (await service.get(page.actor)).passkeys
        name = next((each.name for each in passkeys if each.id == number), None)
        if name is None:
            raise NotFound("you have no such passkey")
        form = prefilled(name=name)
    return page.render("passkey.html", 422 if form.errors else 200, form=form, tabs=account_tabs(ADDRESS))


async def remove_passkey(page: PageRequest) -> Response:
    """Remove a passkey."""
    await page.form()
    return await _removed(
        page, page.site.hub.second_factors.remove_passkey(page.actor, page.request.path_params["passkey"])
    )


async def _removed(page: PageRequest, removal: Awaitable[None]) -> Response:
    try:
        await removal
    except ConfirmationNeeded:
        raise
    except Refused as error:
        return await _overview(page, problem=error)
    return page.redirect(ADDRESS, Flash.SECOND_FACTOR_REMOVED)
