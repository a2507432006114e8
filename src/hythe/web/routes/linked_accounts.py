"""Linked accounts: what is linked, linking by the forge's own page or by a token, and unlinking."""

from starlette.responses import RedirectResponse, Response

from hythe.forges.errors import ForgeError
from hythe.hub.errors import Invalid, NotFound, Refused
from hythe.web.notices import Notice
from hythe.web.routes.account import account_tabs
from hythe.web.routes.form import Form
from hythe.web.routes.page_request import PageRequest

HERE = "/account/linked-accounts"


async def links(visit: PageRequest) -> Response:
    """List the linked accounts, or link one by a token."""
    visit.require_account()
    form = Form()
    if visit.request.method == "POST":
        form = await visit.form()
        try:
            await visit.site.sources.links.add_token(visit.actor, form["url"], form["token"])
        except Invalid as error:
            form = form.wrong(error.fields)
        except (ForgeError, NotFound) as error:
            form = form.wrong({"": str(error)})
        else:
            return visit.redirect(HERE, Notice.ACCOUNT_LINKED)
    return await _page(visit, form)


async def _page(visit: PageRequest, form: Form, problem: str = "") -> Response:
    service = visit.site.sources.links
    return visit.page(
        "linked-accounts.html",
        422 if form.errors or problem else 200,
        form=form,
        problem=problem,
        links=await service.listed(visit.actor),
        offers=service.offers,
        tabs=account_tabs(HERE),
    )


async def begin(visit: PageRequest) -> Response:
    """Send the browser to the forge, which asks its user. The address is the forge's, from the settings."""
    visit.require_account()
    query = visit.request.query_params
    private = query.get("private") == "yes"
    where = visit.site.sources.links.authorization(
        visit.actor, query.get("url", ""), visit.site.url(visit.request), private=private
    )
    return RedirectResponse(where, 303)


async def authorized(visit: PageRequest) -> Response:
    """Link the account that the forge sends the browser back from."""
    visit.require_account()
    query = visit.request.query_params
    if "code" not in query:
        said = query.get("error_description") or query.get("error") or "it did not say why"
        return await _page(visit, Form(), f"The forge did not let the hub in: {said[:300]}")
    try:
        here = visit.site.url(visit.request)
        await visit.site.sources.links.authorized(visit.actor, here, query.get("state", ""), query["code"])
    except (ForgeError, Refused, NotFound) as error:
        return await _page(visit, Form(), str(error))
    return visit.redirect(HERE, Notice.ACCOUNT_LINKED)


async def unlink(visit: PageRequest) -> Response:
    """Say what unlinking removes, or unlink and say what could not be removed."""
    visit.require_account()
    link = await visit.site.sources.links.get(visit.actor, visit.request.path_params["link"])
    removed = None
    if visit.request.method == "POST":
        await visit.form()
        removed = await visit.site.sources.hooks.unlink(visit.actor, link.id)
    return visit.page("unlink.html", link=link, removed=removed, tabs=account_tabs(HERE))
