"""The pages on which administrators block names and digests."""

from starlette.responses import Response

from hythe.hub.access.actions import HubAction
from hythe.hub.administration.blocked_digests import NewBlockedDigest
from hythe.hub.administration.blocked_names import NewBlockedName
from hythe.web.flashes import Flash
from hythe.web.routes.administration import action_page
from hythe.web.routes.form import Form, parse_form
from hythe.web.routes.navigation import page_link, paging_of
from hythe.web.routes.page_request import PageRequest
from hythe.web.routes.page_route import PageRoute

BLOCKED = "/admin/blocked"
NEW_DIGEST = f"{BLOCKED}/digests/new"


async def blocked(page: PageRequest) -> Response:
    """List blocked names and digests, or block names."""
    administration = page.site.hub.hub_administration

    async def work(form: Form) -> str:
        new = parse_form(form, NewBlockedName, "pattern", "reason")
        await administration.blocked_names.block(page.actor, new)
        return BLOCKED

    return await action_page(
        page,
        "admin-blocked.html",
        BLOCKED,
        work,
        Flash.NAME_BLOCKED,
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

    async def work(form: Form) -> str:
        new = parse_form(form, NewBlockedDigest, "digest", "reason")
        await page.site.hub.hub_administration.blocked_digests.block(page.actor, new)
        return BLOCKED

    return await action_page(page, "admin-block-digest.html", BLOCKED, work, Flash.DIGEST_BLOCKED)


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
