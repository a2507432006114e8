"""Builds of a repository: list, one build with its live log, start, cancel and retry."""

from urllib.parse import urlencode

from starlette.responses import Response, StreamingResponse

from hythe.builds.routes.live import event_stream, log_response
from hythe.builds.sql.builds import BuildFilter
from hythe.builds.status import BuildStatus
from hythe.forges.source_ref import SourceRef, SourceType
from hythe.hub.access.actions import HubAction
from hythe.hub.errors import HubError, NotFound, SignInNeeded
from hythe.hub.repositories.repository import Repository
from hythe.web.flashes import Flash
from hythe.web.routes.page_request import PageRequest
from hythe.web.routes.repositories import repository_of, repository_tabs
from hythe.web.templates import repository_address

PAGE_SIZE = 25
MAX_LOG_SIZE = 256 * 1024
"""Bytes at the end of a log that the page shows; a link leads to the whole log."""


async def builds(page: PageRequest) -> Response:
    """List the builds, or start one manually."""
    repository = await repository_of(page)
    problem = None
    if page.request.method == "POST":
        form = await page.form()
        name = form["source"].strip()
        kind = SourceType.TAG if form["source_type"] == "tag" else SourceType.BRANCH
        try:
            ref = SourceRef(kind, name[:250]) if name else None
            started = await page.site.builds.builds.start(page.actor, repository.full_name, ref)
            path = f"/{started[0].number}" if len(started) == 1 else ""
            return page.redirect(f"{repository_address(repository)}/-/builds{path}", Flash.BUILD_QUEUED)
        except (NotFound, SignInNeeded):
            raise
        except HubError as error:
            problem = error
    return await _list_page(page, repository, problem)


async def _list_page(page: PageRequest, repository: Repository, problem: HubError | None) -> Response:
    before = page.request.query_params.get("before", "0")
    number = int(before) if before.isascii() and before.isdigit() and len(before) < 16 else 0
    filters = _filters(page)
    wanted = BuildFilter(repository=repository.full_name, before=number, limit=PAGE_SIZE, **filters)
    address = f"{repository_address(repository)}/-/builds"
    return page.render(
        "builds.html",
        problem.status if problem else 200,
        repository=repository,
        builds=await page.site.builds.builds.find(page.actor, wanted),
        page_size=PAGE_SIZE,
        statuses=[each.value for each in BuildStatus],
        filters=filters,
        filter_query=urlencode(filters),
        has_configuration=await page.site.builds.configurations.exists(page.actor, repository.full_name),
        may_manage=await may_manage(page, repository),
        problem=str(problem or ""),
        tabs=await repository_tabs(page, repository, address),
    )


def _filters(page: PageRequest) -> dict[str, str]:
    """Return the filters in the query: status, branch or tag."""
    query = page.request.query_params
    status, source = query.get("status", ""), query.get("source_name", "").strip()[:250].replace("\0", "")
    chosen = {"status": status if status in {each.value for each in BuildStatus} else "", "source_name": source}
    return {name: value for name, value in chosen.items() if value}


async def may_manage(page: PageRequest, repository: Repository) -> bool:
    """Whether the user may start, cancel and configure builds."""
    return await page.site.hub.access.may(page.actor, repository.full_name, HubAction.START_BUILD)


async def show_build(page: PageRequest) -> Response:
    """Show one build with its log; cancel or retry it."""
    repository = await repository_of(page)
    number = page.request.path_params["number"]
    service = page.site.builds.builds
    address = f"{repository_address(repository)}/-/builds"
    if page.request.method == "POST":
        form = await page.form()
        if form["action"] == "cancel":
            await service.cancel(page.actor, repository.full_name, number)
            return page.redirect(f"{address}/{number}", Flash.BUILD_CANCELLED)
        retried = await service.retry(page.actor, repository.full_name, number)
        return page.redirect(f"{address}/{retried.number}", Flash.BUILD_QUEUED)
    build, position = await service.get(page.actor, repository.full_name, number)
    log_start = max(0, build.log_size - MAX_LOG_SIZE)
    log = await _log(page, repository.full_name, number, log_start)
    text = log.decode(errors="replace")
    return page.render(
        "build.html",
        repository=repository,
        build=build,
        position=position,
        log=text.partition("\n")[2] or text if log_start else text,
        log_start=log_start,
        log_end=log_start + len(log),
        may_manage=await may_manage(page, repository),
        tabs=await repository_tabs(page, repository, address),
    )


async def _log(page: PageRequest, repository: str, number: int, start: int) -> bytes:
    """Return about a megabyte of the log from byte ``start`` on."""
    _, content = await page.site.builds.builds.log(page.actor, repository, number, start)
    return content


async def log(page: PageRequest) -> Response:
    """Return the whole log as text."""
    repository = await repository_of(page)
    number = page.request.path_params["number"]
    return await log_response(page.site.builds, page.actor, repository.full_name, number)


async def events(page: PageRequest) -> Response:
    """Stream the log as server-sent events, for the page's script."""
    repository = await repository_of(page)
    number = page.request.path_params["number"]
    wanted = page.request.headers.get("last-event-id") or page.request.query_params.get("start", "0")
    start = int(wanted) if wanted.isascii() and wanted.isdigit() and len(wanted) < 13 else 0
    service = page.site.builds
    await service.builds.log(page.actor, repository.full_name, number, start)
    stream = event_stream(service, page.actor, repository.full_name, number, start)
    return StreamingResponse(stream, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
