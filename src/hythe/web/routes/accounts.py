"""Signing up, in and out."""

from starlette.responses import Response

from hythe.hub.errors import Invalid, Refused, SignInNeeded, Taken, TooManyAttempts
from hythe.hub.namespaces import NAME_RULE
from hythe.hub.passwords import PASSWORD_LENGTH
from hythe.hub.users import NewUser
from hythe.web.notices import Notice
from hythe.web.redirects import local_target
from hythe.web.routes.form import Form, filled
from hythe.web.routes.page_request import PageRequest


async def sign_up(visit: PageRequest) -> Response:
    """Show the form, or make the account and sign it in."""
    if visit.signed_in:
        return visit.redirect(f"/{visit.name}")
    if not visit.sign_up_open:
        raise Refused("sign-up is closed on this hub", "ask its administrator for an account")
    if visit.request.method != "POST":
        return _sign_up_page(visit, Form())
    form = await visit.form()
    new = NewUser(form["username"].strip(), form["email"].strip(), form["password"])
    try:
        await visit.site.hub.users.create(visit.actor, new)
    except (Invalid, Taken) as error:
        return _sign_up_page(visit, form.wrong(error.fields), error.status)
    started = await visit.site.hub.sessions.sign_in(new.username, new.password, visit.address)
    return visit.begin(visit.redirect(f"/{new.username}", Notice.WELCOME), started)


def _sign_up_page(visit: PageRequest, form: Form, status: int = 200) -> Response:
    return visit.page("sign-up.html", status, form=form, name_rule=NAME_RULE, shortest_password=PASSWORD_LENGTH[0])


async def sign_in(visit: PageRequest) -> Response:
    """Show the form, or begin a new session; one that the browser had before is ended."""
    if visit.request.method != "POST":
        target = local_target(visit.request.query_params.get("next", "/"))
        if visit.signed_in:
            return visit.redirect(target)
        return visit.page("sign-in.html", form=filled(next=target))
    form = await visit.form()
    try:
        started = await visit.site.hub.sessions.sign_in(form["username"].strip(), form["password"], visit.address)
    except (SignInNeeded, TooManyAttempts) as error:
        return visit.page("sign-in.html", error.status, form=form.wrong({"": str(error)}))
    if visit.session:
        await visit.site.hub.sessions.sign_out(visit.session)
    target = local_target(form["next"])
    return visit.begin(visit.redirect(f"/{started.actor.name}" if target == "/" else target), started)


async def sign_out(visit: PageRequest) -> Response:
    """End the session."""
    if visit.signed_in:
        await visit.form()
        await visit.site.hub.sessions.sign_out(visit.session)
    return visit.end(visit.redirect("/", Notice.SIGNED_OUT))
