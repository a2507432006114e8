"""The queue and the workers for administrators, in the JSON API."""

from typing import Any

import msgspec

from hythe.builds.queue_administration import QueuedBuild
from hythe.builds.routes.binding import BuildsEndpoint, bound_endpoints
from hythe.builds.service import BuildsServices
from hythe.builds.worker_administration import ListedWorker
from hythe.hub.access.actions import HubAction
from hythe.hub.errors import NotFound
from hythe.hub.routes.endpoint import ApiRequest, Endpoint, Nothing, PageQuery, PageReply, page_reply
from hythe.hub.service import HubServices


class WorkerList(msgspec.Struct, frozen=True):
    """The workers of the last days."""

    items: tuple[ListedWorker, ...]


class WorkerChange(msgspec.Struct, frozen=True):
    """Whether a worker is draining: it finishes its builds and gets no more."""

    draining: bool


async def _queue(
    builds: BuildsServices, _hub: HubServices, call: ApiRequest[Nothing, PageQuery]
) -> PageReply[QueuedBuild]:
    page = await builds.queue_administration.list(call.actor, call.query.paging())
    return page_reply(page, page.items)


async def _cancel(builds: BuildsServices, _hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> None:
    await builds.queue_administration.cancel(call.actor, _id(call, "build"))


async def _workers(builds: BuildsServices, _hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> WorkerList:
    return WorkerList(await builds.worker_administration.list(call.actor))


async def _change(builds: BuildsServices, _hub: HubServices, call: ApiRequest[WorkerChange, Nothing]) -> ListedWorker:
    draining = call.body.draining
    return await builds.worker_administration.drain(call.actor, _id(call, "worker"), draining=draining)


async def _remove(builds: BuildsServices, _hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> None:
    await builds.worker_administration.remove(call.actor, _id(call, "worker"))


def _id(call: ApiRequest[Any, Any], noun: str) -> int:
    text = str(call.path[noun])
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise NotFound(f"the {noun} does not exist")
    return int(text)


_WORKER = "/api/v1/admin/workers/{worker}"

TABLE = (
    BuildsEndpoint(
        "GET",
        "/api/v1/admin/queue",
        "List the builds of all repositories that run or wait, and why they wait (administrators only)",
        _queue,
        action=HubAction.VIEW_BUILD_QUEUE,
        query=PageQuery,
        reply=PageReply[QueuedBuild],
    ),
    BuildsEndpoint(
        "POST",
        "/api/v1/admin/queue/{build}/cancel",
        "Cancel a build by its id (administrators only)",
        _cancel,
        action=HubAction.CANCEL_QUEUED_BUILD,
    ),
    BuildsEndpoint(
        "GET",
        "/api/v1/admin/workers",
        "List workers and their builds (administrators only)",
        _workers,
        action=HubAction.VIEW_WORKERS,
        reply=WorkerList,
    ),
    BuildsEndpoint(
        "PATCH",
        _WORKER,
        "Give a worker no more builds, or builds again (administrators only)",
        _change,
        action=HubAction.DRAIN_WORKER,
        body=WorkerChange,
        reply=ListedWorker,
    ),
    BuildsEndpoint(
        "DELETE",
        _WORKER,
        "Remove a worker that has stopped from the list (administrators only)",
        _remove,
        action=HubAction.REMOVE_WORKER,
    ),
)


def endpoints(builds: BuildsServices) -> list[Endpoint]:
    """Return the endpoints of the queue and the workers."""
    return bound_endpoints(builds, TABLE)
