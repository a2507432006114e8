"""Sign up, sign in and sign out."""

from urllib.parse import quote

from starlette.responses import Response

from hythe.hub.accounts.namespaces import NAME_RULE
from hythe.hub.accounts.users import NewUser
from hythe.hub.errors import (
    HubError,
    Invalid,
    ProviderDown,
    Refused,
    SecondFactorNeeded,
    SignInNeeded,
    Taken,
    TooManyAttempts,
)
from hythe.hub.sign_in.passwords import PASSWORD_LENGTH
from hythe.web.flashes import Flash
from hythe.web.redirects import local_target
from hythe.web.routes.form import Form, prefilled
from hythe.web.routes.page_request import PageRequest
from hythe.web.routes.pending_sign_ins import finish_sign_in, passkey_options


async def sign_up(page: PageRequest) -> Response:
    """Show the form, or create the account and sign in."""
    target = local_target(page.request.query_params.get("next", "/"))
    if page.signed_in:
        return page.redirect(f"/{page.name}" if target == "/" else target)
    if not page.sign_up_open:
        raise Refused("sign-up is disabled on this hub", "ask an administrator for an account")
    if page.request.method != "POST":
        return _sign_up_page(page, prefilled(next=target))
    form = await page.form()
    new = NewUser(form["username"].strip(), form["email"].strip(), form["password"])
    try:
        await page.site.hub.users.create(page.actor, new, page.client_address)
    except (Invalid, Taken) as error:
        return _sign_up_page(page, form.with_errors(error.fields), error.status)
    except TooManyAttempts as error:
        return _with_retry(_sign_up_page(page, form.with_errors({"": str(error)}), error.status), error)
    started = await page.site.hub.sessions.sign_in(new.username, new.password, page.client_address, page.user_agent)
    target = local_target(form["next"] or "/")
    address = f"/{new.username}" if target == "/" else target
    return page.start_session(page.redirect(address, Flash.WELCOME), started)


def _sign_up_page(page: PageRequest, form: Form, status: int = 200) -> Response:
    return page.render("sign-up.html", status, form=form, name_rule=NAME_RULE, min_password_length=PASSWORD_LENGTH[0])


def _with_retry(response: Response, error: HubError) -> Response:
    if isinstance(error, TooManyAttempts):
        response.headers["Retry-After"] = str(error.retry_after)
    return response


async def sign_in(page: PageRequest) -> Response:
    """Show the form, or start a session; a session that the browser already had is ended."""
    if page.request.method != "POST":
        target = local_target(page.request.query_params.get("next", "/"))
        if page.signed_in:
            return page.redirect(target)
        return _sign_in_page(page, prefilled(next=target))
    form = await page.form()
    try:
        actor = await page.site.hub.sessions.check_password(
            form["username"].strip(), form["password"], page.client_address
        )
    except SecondFactorNeeded as error:
        target = quote(local_target(form["next"]), safe="/")
        return page.start_pending_sign_in(page.redirect(f"/sign-in/second-factor?next={target}"), error.state)
    except (SignInNeeded, Refused, TooManyAttempts, ProviderDown) as error:
        return _with_retry(_sign_in_page(page, form.with_errors({"": str(error)}), error.status), error)
    return await finish_sign_in(page, actor, form["next"])


def _sign_in_page(page: PageRequest, form: Form, status: int = 200) -> Response:
    return page.render("sign-in.html", status, form=form, passkey_options=passkey_options(page))


async def sign_out(page: PageRequest) -> Response:
    """End the session."""
    await page.form()
    await page.site.hub.sessions.sign_out(page.session, page.client_address)
    return page.end_session(page.redirect("/", Flash.SIGNED_OUT))
