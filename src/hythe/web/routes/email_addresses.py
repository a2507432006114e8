"""E-mail addresses: ask for another one, and open the links that confirm or restore one.

Opening a link shows a button, because mail scanners open links; only the button changes something.
"""

from starlette.responses import Response

from hythe.hub.accounts.email_addresses import EmailChange
from hythe.hub.errors import Invalid, NotFound, Refused, Taken, TooManyAttempts
from hythe.hub.mail.mail_links import LinkPurpose
from hythe.web.flashes import Flash
from hythe.web.routes.account import account_tabs
from hythe.web.routes.form import Form, parse_form
from hythe.web.routes.page_request import PageRequest

ADDRESS = "/account/email"


async def email(page: PageRequest) -> Response:
    """Show the address, or ask for another one."""
    form = Form()
    if page.request.method == "POST":
        form = await page.form()
        try:
            await page.site.hub.emails.request_change(page.actor, parse_form(form, EmailChange, "email", "current"))
        except (Invalid, Taken) as error:
            form = form.with_errors(error.fields)
        except TooManyAttempts as error:
            form = form.with_errors({"": str(error)})
        else:
            return page.redirect(ADDRESS, Flash.CONFIRMATION_SENT)
    return await _email_page(page, form)


async def _email_page(page: PageRequest, form: Form) -> Response:
    return page.render(
        "email.html",
        422 if form.errors else 200,
        form=form,
        state=await page.site.hub.emails.state(page.actor),
        mail_server=page.site.hub.mail.configured,
        tabs=account_tabs(ADDRESS),
    )


async def send_again(page: PageRequest) -> Response:
    """Send the e-mail again that confirms an address."""
    await page.form()
    try:
        await page.site.hub.emails.send_again(page.actor)
    except (TooManyAttempts, Refused) as error:
        return await _email_page(page, Form().with_errors({"": str(error)}))
    return page.redirect(ADDRESS, Flash.CONFIRMATION_SENT)


async def confirm(page: PageRequest) -> Response:
    """Ask whether to confirm the address of a link, or confirm it."""
    return await _open_link(page, LinkPurpose.CONFIRM, LinkPurpose.CHANGE)


async def undo(page: PageRequest) -> Response:
    """Ask whether to restore the address of a link, or restore it."""
    return await _open_link(page, LinkPurpose.UNDO)


async def _open_link(page: PageRequest, *purposes: LinkPurpose) -> Response:
    emails = page.site.hub.emails
    restoring = LinkPurpose.UNDO in purposes
    try:
        if page.request.method == "POST":
            open_link = emails.undo if restoring else emails.confirm
            await open_link((await page.form())["token"], page.client_address)
            flash = Flash.EMAIL_RESTORED if restoring else Flash.EMAIL_CONFIRMED
            return page.redirect(ADDRESS if page.signed_in and not restoring else "/sign-in", flash)
        token = page.request.query_params.get("token", "")
        link = await emails.find(token, *purposes)
    except (NotFound, Taken) as error:
        values = {"email": "", "token": "", "problem": str(error)}
        return page.render("confirm-email.html", error.status, restoring=restoring, **values)
    return page.render("confirm-email.html", email=link.email, token=token, problem="", restoring=restoring)
