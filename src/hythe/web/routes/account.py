"""A user's own account: settings and password."""

from starlette.responses import Response

from hythe.hub.accounts.users import UserChange
from hythe.hub.errors import Invalid
from hythe.hub.sign_in.passwords import PASSWORD_LENGTH
from hythe.web.flashes import Flash
from hythe.web.routes.form import Form, parse_form, prefilled
from hythe.web.routes.navigation import Tab, tabs
from hythe.web.routes.page_request import PageRequest


def account_tabs(current: str) -> tuple[Tab, ...]:
    """Return the tabs of the account pages."""
    return tabs(
        current,
        ("/account", "Profile"),
        ("/account/names", "Names"),
        ("/account/email", "E-mail"),
        ("/account/password", "Password"),
        ("/account/sessions", "Sessions"),
        ("/account/two-factor", "Two-factor"),
        ("/account/tokens", "Personal tokens"),
        ("/account/robots", "Robots"),
        ("/account/trust-rules", "Keyless CI"),
        ("/account/identities", "Identities"),
        ("/account/linked-accounts", "Linked accounts"),
        ("/account/organizations", "Organizations"),
        ("/account/invitations", "Invitations"),
        ("/account/audit", "Audit log"),
    )


async def account(page: PageRequest) -> Response:
    """Show the account, or save changes to it."""
    users = page.site.hub.users
    user = await users.me(page.actor)
    form = prefilled(default_visibility=user.default_visibility.value)
    if page.request.method == "POST":
        form = await page.form()
        try:
            await users.change_me(page.actor, parse_form(form, UserChange, "default_visibility"))
        except Invalid as error:
            form = form.with_errors(error.fields)
        else:
            return page.redirect("/account", Flash.ACCOUNT_SAVED)
    status = 422 if form.errors else 200
    return page.render("account.html", status, form=form, user=user, tabs=account_tabs("/account"))


async def password(page: PageRequest) -> Response:
    """Show the form, or change the password. Only this browser stays signed in, with a new session."""
    form = Form()
    if page.request.method == "POST":
        form = await page.form()
        try:
            await page.site.hub.users.set_password(page.actor, page.name, form["password"], form["current"])
        except Invalid as error:
            form = form.with_errors(error.fields)
        else:
            started = await page.site.hub.sessions.start(page.actor, page.client_address, page.user_agent)
            return page.start_session(page.redirect("/account/password", Flash.PASSWORD_CHANGED), started)
    status = 422 if form.errors else 200
    own_tabs = account_tabs("/account/password")
    return page.render("password.html", status, form=form, tabs=own_tabs, min_password_length=PASSWORD_LENGTH[0])
