"""Outgoing webhooks in the JSON API, and the callback URL of their receivers."""

from datetime import datetime
from http import HTTPStatus

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from hythe.hub.access.actions import HubAction
from hythe.hub.access.route_rules import RouteRule
from hythe.hub.errors import NotFound
from hythe.hub.routes.declared_route import DeclaredRoute
from hythe.hub.routes.endpoint import ApiRequest, Endpoint, Nothing
from hythe.hub.routes.parsing import parse_body, read_body
from hythe.hub.routes.problem_details import problem_response
from hythe.hub.routes.repositories import repository_path
from hythe.hub.service import HubServices
from hythe.notifications.event import EventKind
from hythe.notifications.webhook import CallbackBody, NewWebhook, Webhook, WebhookDelivery
from hythe.notifications.webhooks import WebhookService


class WebhookReply(msgspec.Struct, frozen=True):
    """A webhook; its secret is never returned, ``signed`` tells whether it has one."""

    id: int
    url: str
    events: tuple[EventKind, ...]
    chained: bool
    signed: bool
    created_at: datetime


class WebhooksReply(msgspec.Struct, frozen=True):
    """Every webhook of a repository."""

    items: tuple[WebhookReply, ...]


class WebhookDeliveryReply(msgspec.Struct, frozen=True):
    """A delivery; ``status`` is the HTTP status of the last response, 0 without a response."""

    id: str
    event: EventKind
    body: str
    attempts: int
    due_at: datetime | None
    status: int
    outcome: str
    callback_state: str
    created_at: datetime


class WebhookDeliveriesReply(msgspec.Struct, frozen=True):
    """The last deliveries of a webhook, newest first."""

    items: tuple[WebhookDeliveryReply, ...]


class WebhookEndpoints:
    """Handlers of the JSON API."""

    def __init__(self, service: WebhookService) -> None:
        self._service = service

    async def add(self, _hub: HubServices, call: ApiRequest[NewWebhook, Nothing]) -> WebhookReply:
        """Add a webhook."""
        return _reply(await self._service.add(call.actor, repository_path(call), call.body))

    async def of_repository(self, _hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> WebhooksReply:
        """List the webhooks of a repository."""
        return WebhooksReply(tuple(map(_reply, await self._service.of_repository(call.actor, repository_path(call)))))

    async def remove(self, _hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> None:
        """Remove a webhook."""
        await self._service.remove(call.actor, repository_path(call), _id(call))

    async def deliveries(self, _hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> WebhookDeliveriesReply:
        """List the last deliveries of a webhook."""
        found = await self._service.deliveries(call.actor, repository_path(call), _id(call))
        return WebhookDeliveriesReply(tuple(map(_delivery, found)))

    async def redeliver(self, _hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> None:
        """Send a delivery again."""
        await self._service.redeliver(call.actor, repository_path(call), call.path["delivery"][:36])


def _id(call: ApiRequest[Nothing, Nothing]) -> int:
    text = call.path["webhook"]
    if not (text.isascii() and text.isdigit()) or len(text) > 15:
        raise NotFound(f"{text[:20]!r} is not a webhook id")
    return int(text)


def _reply(webhook: Webhook) -> WebhookReply:
    signed = bool(webhook.secret)
    return WebhookReply(webhook.id, webhook.url, webhook.events, webhook.chained, signed, webhook.created_at)


def _delivery(delivery: WebhookDelivery) -> WebhookDeliveryReply:
    return msgspec.convert(delivery, WebhookDeliveryReply, from_attributes=True)


CALLBACK_PATH = "/u/{namespace}/{name:path}/hook/{callback}/"
_WEBHOOKS = "/api/v1/repositories/{namespace}/{name:path}/webhooks"
_NO_CONTENT = HTTPStatus.NO_CONTENT


def endpoints(service: WebhookService) -> tuple[Endpoint, ...]:
    """Return the endpoints of the JSON API."""
    handlers = WebhookEndpoints(service)
    one = f"{_WEBHOOKS}/{{webhook}}"
    redeliver = f"{_WEBHOOKS}/deliveries/{{delivery}}/redeliver"
    return (
        Endpoint(
            "GET",
            f"{one}/deliveries",
            "List deliveries",
            handlers.deliveries,
            reply=WebhookDeliveriesReply,
            action=HubAction.VIEW_WEBHOOKS,
        ),
        Endpoint(
            "POST",
            redeliver,
            "Send a delivery again",
            handlers.redeliver,
            status=_NO_CONTENT,
            action=HubAction.CONFIGURE_WEBHOOKS,
        ),
        Endpoint(
            "DELETE",
            one,
            "Remove a webhook",
            handlers.remove,
            status=_NO_CONTENT,
            action=HubAction.CONFIGURE_WEBHOOKS,
        ),
        Endpoint(
            "GET",
            _WEBHOOKS,
            "List webhooks",
            handlers.of_repository,
            reply=WebhooksReply,
            action=HubAction.VIEW_WEBHOOKS,
        ),
        Endpoint(
            "POST",
            _WEBHOOKS,
            "Add a webhook",
            handlers.add,
            NewWebhook,
            reply=WebhookReply,
            status=HTTPStatus.CREATED,
            action=HubAction.CONFIGURE_WEBHOOKS,
        ),
    )


def routes(service: WebhookService) -> list[BaseRoute]:
    """Return the route of ``callback_url``; it comes before the hub's routes, whose names can contain slashes."""

    async def callback(request: Request) -> Response:
        try:
            body = parse_body(await read_body(request), CallbackBody, lenient=True)
            await service.record_callback(request.path_params["callback"], body)
        except Exception as error:
            return problem_response(error)
        return Response(b"{}", media_type="application/json")

    return [DeclaredRoute(CALLBACK_PATH, callback, {"POST": (RouteRule.SECRET_ADDRESS,)})]
