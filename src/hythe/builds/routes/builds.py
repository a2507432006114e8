"""The JSON API of builds."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from hythe.builds.build import Build, Cause, QueuePosition, SourceCommit
from hythe.builds.routes.binding import BuildsEndpoint, bound_endpoints
from hythe.builds.rules import Rule
from hythe.builds.service import BuildsServices
from hythe.builds.sql.builds import BuildFilter
from hythe.builds.status import BuildStatus
from hythe.forges.source_ref import SourceRef, SourceType
from hythe.hub.access.actions import HubAction
from hythe.hub.errors import NotFound
from hythe.hub.routes.endpoint import ApiRequest, Endpoint, Nothing
from hythe.hub.routes.repositories import repository_path
from hythe.hub.service import HubServices
from hythe.worker.protocol import BuildResult, BuildStep


class BuildSummary(msgspec.Struct, frozen=True):
    """A build in a list."""

    id: int
    number: int
    repository: str
    status: BuildStatus
    ref: SourceRef
    commit: SourceCommit
    cause: Cause
    started_by: str
    tags: tuple[str, ...]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    reason: str
    digest: str


class BuildReply(BuildSummary, frozen=True):
    """A build; ``queue_position`` is null unless it is queued."""

    rule: Rule
    steps: tuple[BuildStep, ...]
    result: BuildResult
    trusted: bool
    fence: int
    worker: str
    cancelled_by: str
    log_size: int
    queue_position: QueuePosition | None = None


class BuildsReply(msgspec.Struct, frozen=True):
    """Builds, newest first; ``next`` is the ``before`` of the next page, 0 on the last page."""

    items: tuple[BuildSummary, ...]
    next: int


class BuildsQuery(msgspec.Struct, frozen=True):
    """Filters for the list of builds; empty fields are ignored."""

    account: str = ""
    status: Annotated[str, Meta(pattern=f"^({'|'.join(each.value for each in BuildStatus)})?$")] = ""
    source_name: str = ""
    commit: str = ""
    cause: Annotated[str, Meta(pattern=f"^({'|'.join(each.value for each in Cause)})?$")] = ""
    tag: str = ""
    before: Annotated[int, Meta(ge=0, le=2**53)] = 0
    limit: Annotated[int, Meta(ge=1, le=100)] = 25


class StartBody(msgspec.Struct, frozen=True):
    """What to build; an empty body builds every branch and tag that a rule names."""

    source_type: SourceType = SourceType.BRANCH
    source_name: Annotated[str, Meta(max_length=250)] = ""
    commit: Annotated[str, Meta(pattern="^([0-9a-f]{40,64})?$")] = ""


class StartedReply(msgspec.Struct, frozen=True):
    """The builds that were queued."""

    items: tuple[BuildSummary, ...]


async def _list(builds: BuildsServices, _hub: HubServices, call: ApiRequest[Nothing, BuildsQuery]) -> BuildsReply:
    return await _listed(builds, call, "")


async def _list_repository(
    builds: BuildsServices, _hub: HubServices, call: ApiRequest[Nothing, BuildsQuery]
) -> BuildsReply:
    return await _listed(builds, call, repository_path(call))


async def _listed(builds: BuildsServices, call: ApiRequest[Nothing, BuildsQuery], repository: str) -> BuildsReply:
    filters = BuildFilter(repository=repository, **msgspec.structs.asdict(call.query))
    found = await builds.builds.find(call.actor, filters)
    next_page = found[-1].id if len(found) == filters.limit else 0
    return BuildsReply(tuple(map(_summary, found)), next_page)


async def _start(builds: BuildsServices, _hub: HubServices, call: ApiRequest[StartBody, Nothing]) -> StartedReply:
    body = call.body
    ref = SourceRef(body.source_type, body.source_name, body.commit) if body.source_name else None
    started = await builds.builds.start(call.actor, repository_path(call), ref)
    return StartedReply(tuple(map(_summary, started)))


async def _get(builds: BuildsServices, _hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> BuildReply:
    return _reply(*await builds.builds.get(call.actor, repository_path(call), build_number(call)))


async def _cancel(builds: BuildsServices, _hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> BuildReply:
    return _reply(await builds.builds.cancel(call.actor, repository_path(call), build_number(call)))


async def _retry(builds: BuildsServices, _hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> BuildReply:
    return _reply(await builds.builds.retry(call.actor, repository_path(call), build_number(call)))


def build_number(call: ApiRequest[Any, Any]) -> int:
    """Return the build number in the path. Raises NotFound."""
    text = str(call.path["number"])
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise NotFound(f"{text[:20]!r} is not a build number")
    return int(text)


def _summary(build: Build) -> BuildSummary:
    return msgspec.convert(build, BuildSummary, from_attributes=True)


def _reply(build: Build, position: QueuePosition | None = None) -> BuildReply:
    return msgspec.structs.replace(msgspec.convert(build, BuildReply, from_attributes=True), queue_position=position)


_BUILDS = "/api/v1/repositories/{namespace}/{name:path}/builds"

TABLE = (
    BuildsEndpoint(
        "GET",
        "/api/v1/builds",
        "List builds of all repositories",
        _list,
        action=HubAction.BROWSE,
        query=BuildsQuery,
        reply=BuildsReply,
    ),
    BuildsEndpoint(
        "POST",
        f"{_BUILDS}/{{number}}/cancel",
        "Cancel a build",
        _cancel,
        action=HubAction.CANCEL_BUILD,
        reply=BuildReply,
    ),
    BuildsEndpoint(
        "POST",
        f"{_BUILDS}/{{number}}/retry",
        "Build the same commit again",
        _retry,
        action=HubAction.START_BUILD,
        reply=BuildReply,
    ),
    BuildsEndpoint(
        "GET",
        f"{_BUILDS}/{{number}}",
        "Show a build",
        _get,
        action=HubAction.VIEW_REPOSITORY,
        reply=BuildReply,
    ),
    BuildsEndpoint(
        "GET",
        _BUILDS,
        "List a repository's builds",
        _list_repository,
        action=HubAction.VIEW_REPOSITORY,
        query=BuildsQuery,
        reply=BuildsReply,
    ),
    BuildsEndpoint(
        "POST",
        _BUILDS,
        "Start builds",
        _start,
        action=HubAction.START_BUILD,
        body=StartBody,
        reply=StartedReply,
    ),
)


def endpoints(builds: BuildsServices) -> list[Endpoint]:
    """Return the endpoints of builds."""
    return bound_endpoints(builds, TABLE)
