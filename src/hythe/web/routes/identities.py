"""Sign in with other systems, choose the name of a new account, and link and unlink identities."""

from typing import Any
from urllib.parse import quote

from starlette.responses import RedirectResponse, Response

from hythe.hub.accounts.namespaces import NAME_RULE
from hythe.hub.actor import HubActor
from hythe.hub.errors import (
    AccountBlocked,
    ConfirmationNeeded,
    HubError,
    Invalid,
    NotFound,
    ProviderDown,
    Refused,
    SecondFactorNeeded,
    Taken,
    TooManyAttempts,
)
from hythe.hub.sign_in.identities import LIFETIME, Completed, Redirection
from hythe.web.flashes import Flash
from hythe.web.redirects import local_target
from hythe.web.routes.account import account_tabs
from hythe.web.routes.form import Form, prefilled
from hythe.web.routes.page_request import PageRequest
from hythe.web.routes.pending_sign_ins import finish_sign_in, passkey_options
from hythe.web.routes.site import IDENTITY_COOKIE, UNNAMED_COOKIE

ADDRESS = "/account/identities"


async def begin(page: PageRequest) -> Response:
    """Redirect to a provider, whose address comes from the settings."""
    target = local_target(page.request.query_params.get("next", "/"))
    if page.signed_in:
        return page.redirect(target)
    name = page.request.path_params["provider"]
    try:
        redirection = await page.site.hub.identities.begin_sign_in(name, page.site.url(page.request), target)
    except ProviderDown as error:
        return _sign_in_page(page, target, error)
    response = RedirectResponse(redirection.url, 303)
    return page.set_secret_cookie(response, IDENTITY_COOKIE, redirection.cookie, int(LIFETIME.total_seconds()))


async def authorized(page: PageRequest) -> Response:
    """Complete what the browser began, after the provider has redirected it back."""
    query = page.request.query_params
    actor = page.actor if page.signed_in else HubActor(address=page.client_address)
    name = page.request.path_params["provider"]
    cookie = page.secret_cookie(IDENTITY_COOKIE)
    try:
        completed = await page.site.hub.identities.complete(name, dict(query), cookie, actor)
    except SecondFactorNeeded as error:
        response = _second_factor(page, error)
    except (Refused, Taken, AccountBlocked, ProviderDown, TooManyAttempts) as error:
        response = await _list(page, error) if page.signed_in else _sign_in_page(page, "/", error)
    else:
        response = await _completed(page, completed)
    return page.delete_secret_cookie(response, IDENTITY_COOKIE)


async def _completed(page: PageRequest, completed: Completed) -> Response:
    if completed.actor is not None:
        return await finish_sign_in(page, completed.actor, completed.target)
    if not completed.cookie:
        return page.redirect(completed.target, Flash.IDENTITY_LINKED if completed.linked else None)
    response = page.redirect("/sign-in/new-account")
    return page.set_secret_cookie(response, UNNAMED_COOKIE, completed.cookie, int(LIFETIME.total_seconds()))


def _second_factor(page: PageRequest, error: SecondFactorNeeded) -> Response:
    return page.start_pending_sign_in(page.redirect("/sign-in/second-factor"), error.state)


def _sign_in_page(page: PageRequest, target: str, error: HubError) -> Response:
    form = prefilled(next=target).with_errors({"": str(error)})
    return page.render("sign-in.html", error.status, form=form, passkey_options=passkey_options(page))


async def new_account(page: PageRequest) -> Response:
    """Show the form for the name of a new account, or make the account."""
    cookie = page.secret_cookie(UNNAMED_COOKIE)
    try:
        unnamed = page.site.hub.identities.unnamed_account(cookie)
    except (Refused, NotFound) as error:
        return page.delete_secret_cookie(_sign_in_page(page, "/", error), UNNAMED_COOKIE)
    form = prefilled(username=unnamed.username, email=unnamed.email)
    if page.request.method == "POST":
        form = await page.form()
        try:
            completed = await page.site.hub.identities.create_account(
                cookie, form["username"].strip(), form["email"].strip(), page.client_address
            )
        except SecondFactorNeeded as error:
            return page.delete_secret_cookie(_second_factor(page, error), UNNAMED_COOKIE)
        except (Invalid, Taken) as error:
            form = form.with_errors(error.fields)
        except (Refused, TooManyAttempts) as error:
            form = form.with_errors({"": str(error)})
        else:
            return page.delete_secret_cookie(await _completed(page, completed), UNNAMED_COOKIE)
    status = 422 if form.errors else 200
    return page.render("identity-new-account.html", status, form=form, unnamed=unnamed, name_rule=NAME_RULE)


async def identities(page: PageRequest) -> Response:
    """List the linked identities, and the providers to link others of."""
    return await _list(page)


async def _list(page: PageRequest, error: HubError | None = None) -> Response:
    service = page.site.hub.identities
    return page.render(
        "identities.html",
        error.status if error else 200,
        form=Form().with_errors({"": str(error)} if error else {}),
        identities=await service.list(page.actor),
        offers=service.offers,
        tabs=account_tabs(ADDRESS),
    )


async def link(page: PageRequest) -> Response:
    """Begin to link an identity: show a link to the provider."""
    await page.form()
    name = page.request.path_params["provider"]
    try:
        redirection = await page.site.hub.identities.begin_link(page.actor, name, page.site.url(page.request))
    except ConfirmationNeeded:
        return _confirm(page)
    except ProviderDown as error:
        return await _list(page, error)
    return _continue(page, "identity-link.html", name, redirection, tabs=account_tabs(ADDRESS))


def _continue(page: PageRequest, template: str, name: str, redirection: Redirection, **shown: Any) -> Response:
    """Show a link to the provider.

    The browser is not redirected, because the content security policy lets forms lead to this hub alone.
    """
    title = next(each.title for each in page.site.hub.identities.offers if each.name == name)
    response = page.render(template, title=title, url=redirection.url, **shown)
    return page.set_secret_cookie(response, IDENTITY_COOKIE, redirection.cookie, int(LIFETIME.total_seconds()))


async def confirm(page: PageRequest) -> Response:
    """Begin to confirm the session by a linked identity: show a link to the provider."""
    form = await page.form()
    name, target = page.request.path_params["provider"], local_target(form["next"])
    hub_url = page.site.url(page.request)
    redirection = await page.site.hub.identities.begin_confirmation(page.actor, name, hub_url, target)
    return _continue(page, "identity-confirm.html", name, redirection)


async def unlink(page: PageRequest) -> Response:
    """Unlink an identity."""
    await page.form()
    try:
        await page.site.hub.identities.unlink(page.actor, page.request.path_params["identity"])
    except ConfirmationNeeded:
        return _confirm(page)
    except Refused as error:
        return await _list(page, error)
    return page.redirect(ADDRESS, Flash.IDENTITY_UNLINKED)


def _confirm(page: PageRequest) -> Response:
    return page.redirect(f"/account/confirm?next={quote(ADDRESS, safe='/')}")
