"""The pages on which administrators block names and digests."""

from starlette.responses import Response

from hythe.hub.access.actions import HubAction
from hythe.hub.administration.blocked_digests import NewBlockedDigest
from hythe.hub.administration.blocked_names import NewBlockedName
from hythe.hub.errors import Invalid
from hythe.web.flashes import Flash
from hythe.web.routes.administration import administration_page
from hythe.web.routes.form import Form, FormRejected, parse_form, submitted
from hythe.web.routes.navigation import page_link, paging_of
from hythe.web.routes.page_request import PageRequest
from hythe.web.routes.page_route import PageRoute

BLOCKED = "/admin/blocked"
NEW_DIGEST = f"{BLOCKED}/digests/new"


async def blocked(page: PageRequest) -> Response:
    """List blocked names and digests, or block names."""
    form = Form()
    if page.request.method == "POST":
        form = await page.form()
        try:
            new = parse_form(form, NewBlockedName, "pattern", "reason")
            await submitted(form, page.site.hub.hub_administration.blocked_names.block(page.actor, new))
        except Invalid as error:
            form = form.with_errors(error.fields)
        except FormRejected as rejected:
            form = rejected.form
        else:
            return page.redirect(BLOCKED, Flash.NAME_BLOCKED)
    administration = page.site.hub.hub_administration
    return administration_page(
        page,
        "admin-blocked.html",
        BLOCKED,
        form,
        names=await administration.blocked_names.list(page.actor),
        listing=await administration.blocked_digests.list(page.actor, paging_of(page)),
        page_link=page_link(BLOCKED),
    )


async def unblock_name(page: PageRequest) -> Response:
    """Remove a pattern of blocked names."""
    form = await page.form()
    await page.site.hub.hub_administration.blocked_names.unblock(page.actor, form["pattern"])
    return page.redirect(BLOCKED, Flash.NAME_UNBLOCKED)


async def block_digest(page: PageRequest) -> Response:
    """Ask for a digest, block it and delete it from every repository."""
    form = Form()
    if page.request.method == "POST":
        form = await page.form()
        try:
            new = parse_form(form, NewBlockedDigest, "digest", "reason")
            await submitted(form, page.site.hub.hub_administration.blocked_digests.block(page.actor, new))
        except Invalid as error:
            form = form.with_errors(error.fields)
        except FormRejected as rejected:
            form = rejected.form
        else:
            return page.redirect(BLOCKED, Flash.DIGEST_BLOCKED)
    return administration_page(page, "admin-block-digest.html", BLOCKED, form)


async def unblock_digest(page: PageRequest) -> Response:
    """Unblock a digest."""
    form = await page.form()
    await page.site.hub.hub_administration.blocked_digests.unblock(page.actor, form["digest"])
    return page.redirect(BLOCKED, Flash.DIGEST_UNBLOCKED)


PAGES = (
    PageRoute(BLOCKED, blocked, get=HubAction.VIEW_BLOCKED, post=HubAction.BLOCK_NAME),
    PageRoute(f"{BLOCKED}/names/unblock", unblock_name, post=HubAction.UNBLOCK_NAME),
    PageRoute(NEW_DIGEST, block_digest, get=HubAction.BLOCK_DIGEST, post=HubAction.BLOCK_DIGEST),
    PageRoute(f"{BLOCKED}/digests/unblock", unblock_digest, post=HubAction.UNBLOCK_DIGEST),
)
