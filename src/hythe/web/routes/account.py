"""A user's own account: e-mail address, password, personal tokens."""

from starlette.responses import Response

from hythe.hub.actor import Right
from hythe.hub.errors import Invalid
from hythe.hub.passwords import PASSWORD_LENGTH
from hythe.hub.personal_tokens import NewPersonalToken
from hythe.hub.users import UserChange
from hythe.web.flashes import Flash
from hythe.web.routes.form import Form, parse_form, parse_values, prefilled
from hythe.web.routes.navigation import Tab, tabs
from hythe.web.routes.page_request import PageRequest

RIGHTS = (
    (Right.READ.value, "Pull", "Pull from your repositories, including private ones."),
    (Right.WRITE.value, "Push", "Push to your repositories and change their settings."),
    (Right.DELETE.value, "Delete", "Delete tags, images and repositories."),
    (Right.ACCOUNT.value, "Account", "Manage your account and its tokens."),
)

LIFETIMES = (("30", "30 days", ""), ("365", "1 year", ""), ("", "No expiration", ""))


def account_tabs(current: str) -> tuple[Tab, ...]:
    """Return the tabs of the account pages."""
    return tabs(
        current,
        ("/account", "Profile"),
        ("/account/email", "E-mail"),
        ("/account/password", "Password"),
        ("/account/sessions", "Sessions"),
        ("/account/two-factor", "Two-factor"),
        ("/account/tokens", "Personal tokens"),
        ("/account/identities", "Identities"),
        ("/account/linked-accounts", "Linked accounts"),
    )


async def account(page: PageRequest) -> Response:
    """Show the account, or save changes to it."""
    page.require_account()
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
    page.require_account()
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


async def tokens(page: PageRequest) -> Response:
    """List the personal tokens, or create one and show its secret once."""
    page.require_account()
    form = Form({"rights": (Right.READ.value, Right.WRITE.value), "expires_in_days": ("365",)})
    if page.request.method != "POST":
        return await _tokens_page(page, form)
    sent = await page.form()
    try:
        secret, _ = await page.site.hub.personal_tokens.create(page.actor, _new_token(sent))
    except Invalid as error:
        return await _tokens_page(page, sent.with_errors(error.fields))
    return await _tokens_page(page, form, secret)


def _new_token(form: Form) -> NewPersonalToken:
    values = {"name": form["name"], "rights": form.all("rights"), "expires_in_days": form["expires_in_days"] or None}
    return parse_values(values, NewPersonalToken)


async def _tokens_page(page: PageRequest, form: Form, secret: str = "") -> Response:
    listed = await page.site.hub.personal_tokens.list(page.actor)
    return page.render(
        "tokens.html",
        422 if form.errors else 200,
        form=form,
        secret=secret,
        tokens=listed,
        rights=RIGHTS,
        lifetimes=LIFETIMES,
        tabs=account_tabs("/account/tokens"),
    )


async def delete_token(page: PageRequest) -> Response:
    """Delete a personal token."""
    page.require_account()
    await page.form()
    await page.site.hub.personal_tokens.delete(page.actor, page.request.path_params["token"])
    return page.redirect("/account/tokens", Flash.TOKEN_DELETED)
