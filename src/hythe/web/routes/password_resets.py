"""Forgotten passwords: ask for a link by e-mail, and choose a new password with it."""

from starlette.responses import Response

from hythe.hub.errors import Invalid, NotFound, TooManyAttempts
from hythe.hub.sign_in.passwords import PASSWORD_LENGTH
from hythe.web.flashes import Flash
from hythe.web.routes.form import Form
from hythe.web.routes.page_request import PageRequest


async def forgot_password(page: PageRequest) -> Response:
    """Show the form, or send a link. The page is the same whether there is such an account or not."""
    form, status, sent = Form(), 200, False
    if page.request.method == "POST":
        form = await page.form()
        try:
            await page.site.hub.password_resets.request(form["account"], page.client_address)
            sent = True
        except Invalid as error:
            form, status = form.with_errors(error.fields), error.status
        except TooManyAttempts as error:
            form, status = form.with_errors({"": str(error)}), error.status
    configured = page.site.hub.mail.configured
    return page.render("forgot-password.html", status, form=form, sent=sent, mail_server=configured)


async def reset_password(page: PageRequest) -> Response:
    """Show the form of a link, or set the password. The user signs in afterwards, with a second factor if needed."""
    resets = page.site.hub.password_resets
    form = Form()
    if page.request.method == "POST":
        form = await page.form()
    token = form["token"] or page.request.query_params.get("token", "")
    try:
        if page.request.method == "POST":
            try:
                await resets.reset(token, form["password"], page.client_address)
            except Invalid as error:
                form = form.with_errors(error.fields)
            else:
                return page.end_session(page.redirect("/sign-in", Flash.PASSWORD_RESET))
        user = await resets.user(token)
    except NotFound as error:
        return page.render("reset-password.html", error.status, user=None, problem=str(error), form=form)
    return page.render(
        "reset-password.html",
        422 if form.errors else 200,
        user=user,
        token=token,
        form=form,
        min_password_length=PASSWORD_LENGTH[0],
    )
