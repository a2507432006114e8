"""The page on which administrators see the largest namespaces and garbage collections, and start a collection."""

from starlette.responses import Response

from hythe.hub.access.actions import HubAction
from hythe.web.flashes import Flash
from hythe.web.routes.admin_accounts import account_address
from hythe.web.routes.administration import administration_page
from hythe.web.routes.navigation import page_link, paging_of
from hythe.web.routes.page_request import PageRequest
from hythe.web.routes.page_route import PageRoute

STORAGE = "/admin/storage"


async def storage(page: PageRequest) -> Response:
    """Show what namespaces use, what garbage collection frees next, and what the last runs freed."""
    administration = page.site.hub.hub_administration
    return administration_page(
        page,
        "admin-storage.html",
        STORAGE,
        report=await administration.storage.report(page.actor),
        garbage=await administration.garbage.state(page.actor),
        listing=await administration.garbage.runs(page.actor, paging_of(page)),
        account_link=account_address,
        page_link=page_link(STORAGE),
    )


async def collect_garbage(page: PageRequest) -> Response:
    """Let this server collect garbage now."""
    await page.form()
    await page.site.hub.hub_administration.garbage.start(page.actor)
    return page.redirect(STORAGE, Flash.GARBAGE_STARTED)


PAGES = (
    PageRoute(STORAGE, storage, get=HubAction.VIEW_STORAGE),
    PageRoute(f"{STORAGE}/collect-garbage", collect_garbage, post=HubAction.COLLECT_GARBAGE),
)
