"""The second step of a sign-in: a code or a passkey; and signing in by a passkey alone."""

import msgspec
from starlette.responses import Response

from hythe.hub.actor import HubActor
from hythe.hub.errors import AccountBlocked, SignInNeeded, TooManyAttempts
from hythe.hub.sign_in.sign_in_states import StateExpired
from hythe.web.redirects import local_target
from hythe.web.routes.form import Form, prefilled
from hythe.web.routes.page_request import PageRequest


async def second_factor(page: PageRequest) -> Response:
    """Show the form for a second factor, or finish the sign-in."""
    target = local_target(page.request.query_params.get("next", "/"))
    if page.signed_in:
        return page.redirect(target)
    if page.request.method != "POST":
        return await _second_factor_page(page, prefilled(next=target))
    form = await page.form()
    pending, state = page.site.hub.pending_sign_ins, page.pending_sign_in
    try:
        if form["credential"]:
            party = page.relying_party
            actor = await pending.by_passkey(state, party, form["credential"], page.client_address)
        else:
            actor = await pending.by_code(state, form["code"], page.client_address)
    except (SignInNeeded, AccountBlocked, TooManyAttempts) as error:
        return await _second_factor_page(page, form.with_errors({"": str(error)}), error.status)
    return await finish_sign_in(page, actor, form["next"])


async def _second_factor_page(page: PageRequest, form: Form, status: int = 200) -> Response:
    try:
        pending = await page.site.hub.pending_sign_ins.get(page.pending_sign_in, page.relying_party)
    except StateExpired:
        return page.end_pending_sign_in(page.redirect("/sign-in"))
    options = msgspec.json.encode(pending.passkeys).decode() if pending.passkeys else ""
    return page.render("second-factor.html", status, form=form, pending=pending, options=options)


def passkey_options(page: PageRequest) -> str:
    """Return the options for ``passkey`` as JSON."""
    options = page.site.hub.pending_sign_ins.passkey_options(page.relying_party, page.browser_secret())
    return msgspec.json.encode(options).decode()


async def passkey(page: PageRequest) -> Response:
    """Sign in by a passkey alone."""
    form = await page.form()
    if page.signed_in:
        return page.redirect(local_target(form["next"]))
    if not form["credential"]:
        problem = "Passkeys need JavaScript. Sign in with your password instead."
        return _sign_in_page(page, form.with_errors({"": problem}), 422)
    pending = page.site.hub.pending_sign_ins
    try:
        actor = await pending.by_passkey_alone(
            page.relying_party, page.browser_secret(), form["credential"], page.client_address
        )
    except (SignInNeeded, AccountBlocked) as error:
        return _sign_in_page(page, form.with_errors({"": str(error)}), error.status)
    return await finish_sign_in(page, actor, form["next"])


def _sign_in_page(page: PageRequest, form: Form, status: int) -> Response:
    return page.render("sign-in.html", status, form=form, passkey_options=passkey_options(page))


async def finish_sign_in(page: PageRequest, actor: HubActor, target: str) -> Response:
    """Start a session for a user who gave every factor, and end the one that the browser had."""
    started = await page.site.hub.sessions.start(actor, page.client_address, page.user_agent)
    if page.session:
        await page.site.hub.sessions.sign_out(page.session, page.client_address)
    path = local_target(target)
    response = page.redirect(f"/{actor.name}" if path == "/" else path)
    return page.end_pending_sign_in(page.start_session(response, started))
