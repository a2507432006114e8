"""The page on which administrators see the queue of builds and the workers, and cancel, drain and remove them."""

from starlette.responses import Response

from hythe.hub.access.actions import HubAction
from hythe.web.flashes import Flash
from hythe.web.routes.admin_repositories import administered_address
from hythe.web.routes.administration import administration_page
from hythe.web.routes.form import FormRejected, submitted
from hythe.web.routes.navigation import page_link, paging_of
from hythe.web.routes.page_request import PageRequest
from hythe.web.routes.page_route import PageRoute

BUILDS = "/admin/builds"


async def queue(page: PageRequest) -> Response:
    """List the builds that run or wait, and the workers."""
    return await _builds_page(page)


async def _builds_page(page: PageRequest, rejected: FormRejected | None = None) -> Response:
    builds = page.site.builds
    return administration_page(
        page,
        "admin-builds.html",
        BUILDS,
        rejected.form if rejected else None,
        rejected.status if rejected else 200,
        listing=await builds.queue_administration.list(page.actor, paging_of(page)),
        workers=await builds.worker_administration.list(page.actor),
        repository_link=administered_address,
        page_link=page_link(BUILDS),
    )


async def cancel_build(page: PageRequest) -> Response:
    """Cancel a build that waits, or stop one that runs."""
    form = await page.form()
    try:
        await submitted(form, page.site.builds.queue_administration.cancel(page.actor, _id(page, "build")))
    except FormRejected as rejected:
        return await _builds_page(page, rejected)
    return page.redirect(BUILDS, Flash.BUILD_CANCELLED)


async def drain_worker(page: PageRequest) -> Response:
    """Give a worker no more builds, or builds again."""
    form = await page.form()
    draining = form["draining"] == "yes"
    await page.site.builds.worker_administration.drain(page.actor, _id(page, "worker"), draining=draining)
    return page.redirect(BUILDS, Flash.WORKER_DRAINING if draining else Flash.WORKER_RESUMED)


async def remove_worker(page: PageRequest) -> Response:
    """Remove a worker that is not connected from the list."""
    form = await page.form()
    try:
        await submitted(form, page.site.builds.worker_administration.remove(page.actor, _id(page, "worker")))
    except FormRejected as rejected:
        return await _builds_page(page, rejected)
    return page.redirect(BUILDS, Flash.WORKER_REMOVED)


def _id(page: PageRequest, noun: str) -> int:
    return int(page.request.path_params[noun])


PAGES = (
    PageRoute(BUILDS, queue, get=HubAction.VIEW_BUILD_QUEUE),
    PageRoute(f"{BUILDS}/{{build:int}}/cancel", cancel_build, post=HubAction.CANCEL_QUEUED_BUILD),
    PageRoute(f"{BUILDS}/workers/{{worker:int}}/drain", drain_worker, post=HubAction.DRAIN_WORKER),
    PageRoute(f"{BUILDS}/workers/{{worker:int}}/remove", remove_worker, post=HubAction.REMOVE_WORKER),
)
