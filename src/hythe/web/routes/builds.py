"""Builds of a repository: the list, one with its live log, starting, cancelling and trying again."""

from urllib.parse import urlencode

from starlette.responses import Response, StreamingResponse

from hythe.builds.routes.live import event_stream
from hythe.builds.rules import SourceRef, SourceType
from hythe.builds.sql.builds import BuildFilter
from hythe.builds.status import BuildStatus
from hythe.hub.errors import HubError, NotFound
from hythe.hub.repository import Repository
from hythe.registry.access import Action
from hythe.web.notices import Notice
from hythe.web.routes.page_request import PageRequest
from hythe.web.routes.repositories import repository_of, repository_tabs
from hythe.web.templates import repository_address

LISTED = 25
LARGEST_LOG = 4 << 20
"""Most bytes of a log that the page itself shows; the rest is a link away."""


async def builds(visit: PageRequest) -> Response:
    """List the builds, or start one by hand."""
    found = await repository_of(visit)
    problem = ""
    if visit.request.method == "POST":
        form = await visit.form()
        name = form["source"].strip()
        kind = SourceType.TAG if form["source_type"] == "tag" else SourceType.BRANCH
        try:
            ref = SourceRef(kind, name[:250]) if name else None
            started = await visit.site.builds.builds.start(visit.actor, found.full_name, ref)
            one = f"/{started[0].number}" if len(started) == 1 else ""
            return visit.redirect(f"{repository_address(found)}/-/builds{one}", Notice.BUILD_QUEUED)
        except NotFound:
            raise
        except HubError as error:
            problem = str(error)
    return await _list_page(visit, found, problem)


async def _list_page(visit: PageRequest, found: Repository, problem: str) -> Response:
    before = visit.request.query_params.get("before", "0")
    number = int(before) if before.isascii() and before.isdigit() and len(before) < 16 else 0
    narrowed = _narrowed(visit)
    wanted = BuildFilter(repository=found.full_name, before=number, limit=LISTED, **narrowed)
    address = f"{repository_address(found)}/-/builds"
    return visit.page(
        "builds.html",
        422 if problem else 200,
        repository=found,
        builds=await visit.site.builds.builds.listed(visit.actor, wanted),
        page_length=LISTED,
        statuses=[each.value for each in BuildStatus],
        narrowed=narrowed,
        same=urlencode(narrowed),
        has_setup=await visit.site.builds.configurations.exists(visit.actor, found.full_name),
        may_manage=await may_manage(visit, found),
        problem=problem,
        tabs=await repository_tabs(visit, found, address),
    )


def _narrowed(visit: PageRequest) -> dict[str, str]:
    """Return what the address asks to see alone: builds of a status, of a branch or tag."""
    query = visit.request.query_params
    status, source = query.get("status", ""), query.get("source_name", "").strip()[:250].replace("\0", "")
    chosen = {"status": status if status in {each.value for each in BuildStatus} else "", "source_name": source}
    return {name: value for name, value in chosen.items() if value}


async def may_manage(visit: PageRequest, found: Repository) -> bool:
    """Whether the visitor may start, cancel and set up builds."""
    return await visit.site.hub.access.may(visit.actor, found.full_name, Action.DELETE)


async def build(visit: PageRequest) -> Response:
    """Show one build with its log; cancel it, or try it again."""
    found = await repository_of(visit)
    number = visit.request.path_params["number"]
    service = visit.site.builds.builds
    address = f"{repository_address(found)}/-/builds"
    if visit.request.method == "POST":
        form = await visit.form()
        if form["action"] == "cancel":
            await service.cancel(visit.actor, found.full_name, number)
            return visit.redirect(f"{address}/{number}", Notice.BUILD_CANCELLED)
        again = await service.retry(visit.actor, found.full_name, number)
        return visit.redirect(f"{address}/{again.number}", Notice.BUILD_QUEUED)
    one, place = await service.get(visit.actor, found.full_name, number)
    log = await _log(visit, found.full_name, number)
    return visit.page(
        "build.html",
        repository=found,
        build=one,
        place=place,
        log=log.decode(errors="replace"),
        log_end=len(log),
        may_manage=await may_manage(visit, found),
        tabs=await repository_tabs(visit, found, address),
    )


async def _log(visit: PageRequest, repository: str, number: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while size < LARGEST_LOG:
        _, piece = await visit.site.builds.builds.log(visit.actor, repository, number, size)
        if not piece:
            break
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)


async def log(visit: PageRequest) -> Response:
    """Give the whole log as text."""
    found = await repository_of(visit)
    number = visit.request.path_params["number"]
    content = bytearray()
    while True:
        _, piece = await visit.site.builds.builds.log(visit.actor, found.full_name, number, len(content))
        if not piece:
            return Response(bytes(content), media_type="text/plain; charset=utf-8")
        content += piece


async def events(visit: PageRequest) -> Response:
    """Give the log as it grows, for the page's script."""
    found = await repository_of(visit)
    number = visit.request.path_params["number"]
    wanted = visit.request.headers.get("last-event-id") or visit.request.query_params.get("start", "0")
    start = int(wanted) if wanted.isascii() and wanted.isdigit() and len(wanted) < 13 else 0
    service = visit.site.builds
    await service.builds.log(visit.actor, found.full_name, number, start)
    stream = event_stream(service, visit.actor, found.full_name, number, start)
    return StreamingResponse(stream, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
