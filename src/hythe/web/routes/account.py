"""What users see and change of themselves: e-mail address, password, personal tokens."""

from starlette.responses import Response

from hythe.hub.actor import Right
from hythe.hub.errors import Invalid, Taken
from hythe.hub.passwords import PASSWORD_LENGTH
from hythe.hub.personal_tokens import NewPersonalToken
from hythe.hub.users import UserChange
from hythe.web.notices import Notice
from hythe.web.routes.form import Form, converted, filled, parsed
from hythe.web.routes.page_request import PageRequest
from hythe.web.routes.tab import Tab, tabs

RIGHTS = (
    (Right.READ.value, "Pull", "Read your repositories, the private ones too."),
    (Right.WRITE.value, "Push", "Push to them and change them."),
    (Right.DELETE.value, "Delete", "Delete tags, images and repositories."),
    (Right.ACCOUNT.value, "Account", "Manage your account, its tokens included."),
)

LIFETIMES = (("30", "30 days", ""), ("365", "One year", ""), ("", "Without an end", ""))


def account_tabs(current: str) -> tuple[Tab, ...]:
    """Return the way between the pages of an account."""
    return tabs(
        current,
        ("/account", "Profile"),
        ("/account/password", "Password"),
        ("/account/tokens", "Personal tokens"),
        ("/account/linked-accounts", "Linked accounts"),
    )


async def account(visit: PageRequest) -> Response:
    """Show the account, or change it."""
    visit.require_account()
    users = visit.site.hub.users
    user = await users.me(visit.actor)
    form = filled(email=user.email, default_visibility=user.default_visibility.value)
    if visit.request.method == "POST":
        form = await visit.form()
        try:
            await users.change_me(visit.actor, parsed(form, UserChange, "email", "default_visibility"))
        except (Invalid, Taken) as error:
            form = form.wrong(error.fields)
        else:
            return visit.redirect("/account", Notice.ACCOUNT_SAVED)
    status = 422 if form.errors else 200
    return visit.page("account.html", status, form=form, user=user, tabs=account_tabs("/account"))


async def password(visit: PageRequest) -> Response:
    """Show the form, or change the password; this browser alone stays signed in, by a new session."""
    visit.require_account()
    form = Form()
    if visit.request.method == "POST":
        form = await visit.form()
        try:
            await visit.site.hub.users.set_password(visit.actor, visit.name, form["password"], form["current"])
        except Invalid as error:
            form = form.wrong(error.fields)
        else:
            started = await visit.site.hub.sessions.sign_in(visit.name, form["password"], visit.address)
            return visit.begin(visit.redirect("/account/password", Notice.PASSWORD_CHANGED), started)
    status = 422 if form.errors else 200
    own_tabs = account_tabs("/account/password")
    return visit.page("password.html", status, form=form, tabs=own_tabs, shortest_password=PASSWORD_LENGTH[0])


async def tokens(visit: PageRequest) -> Response:
    """List the personal tokens, or make one and show its secret this once."""
    visit.require_account()
    form = Form({"rights": (Right.READ.value, Right.WRITE.value), "expires_in_days": ("365",)})
    if visit.request.method != "POST":
        return await _tokens_page(visit, form)
    sent = await visit.form()
    try:
        secret, _ = await visit.site.hub.personal_tokens.create(visit.actor, _new_token(sent))
    except Invalid as error:
        return await _tokens_page(visit, sent.wrong(error.fields))
    return await _tokens_page(visit, form, secret)


def _new_token(form: Form) -> NewPersonalToken:
    values = {"name": form["name"], "rights": form.all("rights"), "expires_in_days": form["expires_in_days"] or None}
    return converted(values, NewPersonalToken)


async def _tokens_page(visit: PageRequest, form: Form, secret: str = "") -> Response:
    listed = await visit.site.hub.personal_tokens.list(visit.actor)
    return visit.page(
        "tokens.html",
        422 if form.errors else 200,
        form=form,
        secret=secret,
        tokens=listed,
        rights=RIGHTS,
        lifetimes=LIFETIMES,
        tabs=account_tabs("/account/tokens"),
    )


async def delete_token(visit: PageRequest) -> Response:
    """Take a personal token away."""
    visit.require_account()
    await visit.form()
    await visit.site.hub.personal_tokens.delete(visit.actor, visit.request.path_params["token"])
    return visit.redirect("/account/tokens", Notice.TOKEN_DELETED)
