"""Asks a signed-in user for their password, a second factor or a linked identity again, before a sensitive change."""

import msgspec
from starlette.responses import Response

from hythe.hub.errors import Invalid, TooManyAttempts
from hythe.hub.sign_in.passkeys import PasskeyRejected
from hythe.hub.sign_in.sign_in_states import StateExpired
from hythe.web.redirects import local_target
from hythe.web.routes.form import Form, prefilled
from hythe.web.routes.page_request import PageRequest


async def confirm(page: PageRequest) -> Response:
    """Show the form, or confirm the session and continue."""
    form = prefilled(next=local_target(page.request.query_params.get("next", "/account")))
    if page.request.method == "POST":
        form = await page.form()
        try:
            await _confirm(page, form)
        except Invalid as error:
            form = form.with_errors(error.fields)
        except (StateExpired, PasskeyRejected, TooManyAttempts) as error:
            form = form.with_errors({"": str(error)})
        else:
            return page.redirect(local_target(form["next"]))
    options = await page.site.hub.confirmations.passkey_options(page.actor, page.relying_party)
    return page.render(
        "confirm.html",
        422 if form.errors else 200,
        form=form,
        means=await page.site.hub.identities.confirmation_means(page.actor),
        factors=await page.site.hub.second_factors.get(page.actor),
        options=msgspec.json.encode(options).decode() if options else "",
    )


async def _confirm(page: PageRequest, form: Form) -> None:
    confirmations = page.site.hub.confirmations
    if form["credential"]:
        await confirmations.by_passkey(page.actor, page.relying_party, form["credential"])
    elif form["otp"]:
        await confirmations.by_code(page.actor, form["otp"], page.client_address)
    else:
        await confirmations.by_password(page.actor, form["password"])
