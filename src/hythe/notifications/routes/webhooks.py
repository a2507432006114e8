"""Outgoing webhooks of builds in the JSON API."""

from datetime import datetime
from http import HTTPStatus

import msgspec

from hythe.builds.routes.binding import bound
from hythe.builds.service import BuildsServices
from hythe.hub.errors import NotFound
from hythe.hub.routes.endpoint import Call, Endpoint, Nothing
from hythe.hub.routes.repositories import repository_path
from hythe.hub.service import Hub
from hythe.notifications.webhook import Delivery, Event, NewNotice, Notice


class NoticeReply(msgspec.Struct, frozen=True):
    """A place that is told of builds; its secret is shown to nobody."""

    id: int
    url: str
    events: tuple[Event, ...]
    chained: bool
    signed: bool
    created_at: datetime


class NoticesReply(msgspec.Struct, frozen=True):
    """Every notice of a repository."""

    items: tuple[NoticeReply, ...]


class DeliveryReply(msgspec.Struct, frozen=True):
    """One delivery; ``status`` is that of the last answer, 0 when there was none."""

    id: str
    event: Event
    body: str
    attempts: int
    due_at: datetime | None
    status: int
    outcome: str
    callback_state: str
    created_at: datetime


class DeliveriesReply(msgspec.Struct, frozen=True):
    """The last deliveries of a notice, newest first."""

    items: tuple[DeliveryReply, ...]


async def _add(builds: BuildsServices, _hub: Hub, call: Call[NewNotice, Nothing]) -> NoticeReply:
    return _reply(await builds.notices.add(call.actor, repository_path(call), call.body))


async def _list(builds: BuildsServices, _hub: Hub, call: Call[Nothing, Nothing]) -> NoticesReply:
    return NoticesReply(tuple(map(_reply, await builds.notices.listed(call.actor, repository_path(call)))))


async def _remove(builds: BuildsServices, _hub: Hub, call: Call[Nothing, Nothing]) -> None:
    await builds.notices.remove(call.actor, repository_path(call), _id(call))


async def _deliveries(builds: BuildsServices, _hub: Hub, call: Call[Nothing, Nothing]) -> DeliveriesReply:
    found = await builds.notices.deliveries(call.actor, repository_path(call), _id(call))
    return DeliveriesReply(tuple(_delivery(each) for each in found))


async def _redeliver(builds: BuildsServices, _hub: Hub, call: Call[Nothing, Nothing]) -> None:
    await builds.notices.redeliver(call.actor, repository_path(call), call.path["delivery"][:36])


def _id(call: Call[Nothing, Nothing]) -> int:
    text = call.path["notice"]
    if not (text.isascii() and text.isdigit()) or len(text) > 15:
        raise NotFound("there is no such notice")
    return int(text)


def _reply(notice: Notice) -> NoticeReply:
    signed = bool(notice.secret)
    return NoticeReply(notice.id, notice.url, notice.events, notice.chained, signed, notice.created_at)


def _delivery(delivery: Delivery) -> DeliveryReply:
    return msgspec.convert(delivery, DeliveryReply, from_attributes=True)


_NOTICES = "/api/v1/repositories/{namespace}/{name:path}/webhooks"
_NONE = HTTPStatus.NO_CONTENT

TABLE = (
    (
        "GET",
        f"{_NOTICES}/{{notice}}/deliveries",
        "List deliveries",
        _deliveries,
        Nothing,
        DeliveriesReply,
        HTTPStatus.OK,
    ),
    ("POST", f"{_NOTICES}/deliveries/{{delivery}}/again", "Send a delivery again", _redeliver, Nothing, None, _NONE),
    ("DELETE", f"{_NOTICES}/{{notice}}", "Remove a webhook of builds", _remove, Nothing, None, _NONE),
    ("GET", _NOTICES, "List webhooks of builds", _list, Nothing, NoticesReply, HTTPStatus.OK),
    ("POST", _NOTICES, "Add a webhook of builds", _add, NewNotice, NoticeReply, HTTPStatus.CREATED),
)


def endpoints(builds: BuildsServices) -> list[Endpoint]:
    """Return the addresses of outgoing webhooks."""
    return [
        Endpoint(method, path, summary, bound(builds, handler), body=body, reply=reply, status=status)
        for method, path, summary, handler, body, reply, status in TABLE
    ]
