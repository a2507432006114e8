"""The page of a user's personal tokens."""

from starlette.responses import Response

from hythe.hub.actor import Right
from hythe.hub.errors import Invalid
from hythe.hub.tokens.personal_tokens import NewPersonalToken
from hythe.hub.tokens.token_terms import Rotation
from hythe.web.flashes import Flash
from hythe.web.routes.account import account_tabs
from hythe.web.routes.form import Form, parse_values
from hythe.web.routes.page_request import PageRequest

ROBOT_RIGHTS = (
    (Right.READ.value, "Pull", "Pull images, also from private repositories."),
    (Right.WRITE.value, "Push", "Push images, create repositories and change descriptions."),
    (Right.DELETE.value, "Delete", "Delete tags, images and repositories."),
    (Right.BUILDS.value, "Builds", "Set up, start and cancel Trusted Builds."),
    (Right.ADMIN.value, "Settings", "Change visibility, webhooks and who has access."),
)

RIGHTS = (*ROBOT_RIGHTS, (Right.ACCOUNT.value, "Account", "Manage your account and its tokens."))

DEFAULT_RIGHTS = (Right.READ.value, Right.WRITE.value)

OVERLAPS = ((0, "at once"), (1, "in 1 hour"), (24, "in 24 hours"))
"""When the old secret ends after a rotation."""


def lifetimes(max_days: int) -> tuple[tuple[str, str, str], ...]:
    """Return the choices of an expiry; ``max_days``: the longest one (0: none is needed)."""
    every = ((30, "30 days"), (90, "90 days"), (365, "1 year"))
    known = [(str(days), title, "") for days, title in every if not max_days or days <= max_days]
    if not max_days:
        return (*known, ("", "No expiration", ""))
    return tuple(known) or ((str(max_days), f"{max_days} days", ""),)


def given_repositories(form: Form) -> tuple[str, ...] | None:
    """Return the repositories that a form limits a token to; None: it does not."""
    return tuple(form["repositories"].split()) or None


async def tokens(page: PageRequest) -> Response:
    """List the personal tokens, or create one and show its secret once."""
    form = _empty(page)
    if page.request.method != "POST":
        return await _tokens_page(page, form)
    sent = await page.form()
    try:
        secret, _ = await page.site.hub.personal_tokens.create(page.actor, _new_token(sent))
    except Invalid as error:
        return await _tokens_page(page, sent.with_errors(error.fields))
    return await _tokens_page(page, form, secret)


def _empty(page: PageRequest) -> Form:
    choices = [value for value, _, _ in lifetimes(page.site.hub.personal_tokens.terms.max_days)]
    return Form({"rights": DEFAULT_RIGHTS, "expires_in_days": ("365" if "365" in choices else choices[0],)})


def _new_token(form: Form) -> NewPersonalToken:
    values = {
        "name": form["name"],
        "rights": form.all("rights"),
        "expires_in_days": form["expires_in_days"] or None,
        "repositories": given_repositories(form),
    }
    return parse_values(values, NewPersonalToken)


async def _tokens_page(page: PageRequest, form: Form, secret: str = "") -> Response:
    service = page.site.hub.personal_tokens
    return page.render(
        "tokens.html",
        422 if form.errors else 200,
        form=form,
        secret=secret,
        tokens=await service.list(page.actor),
        rights=RIGHTS,
        lifetimes=lifetimes(service.terms.max_days),
        overlaps=OVERLAPS,
        tabs=account_tabs("/account/tokens"),
    )


async def rotate_token(page: PageRequest) -> Response:
    """Give a personal token a new secret, and show it once."""
    sent = await page.form()
    rotation = parse_values({"overlap_hours": sent["overlap_hours"] or "0"}, Rotation)
    token_id = page.request.path_params["token"]
    secret, _ = await page.site.hub.personal_tokens.rotate(page.actor, token_id, rotation)
    return await _tokens_page(page, _empty(page), secret)


async def delete_token(page: PageRequest) -> Response:
    """Delete a personal token."""
    await page.form()
    await page.site.hub.personal_tokens.delete(page.actor, page.request.path_params["token"])
    return page.redirect("/account/tokens", Flash.TOKEN_DELETED)
