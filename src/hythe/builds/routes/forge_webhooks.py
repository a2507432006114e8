"""Forge webhooks: the URL that forges send to, and the endpoints that manage webhooks."""

from http import HTTPStatus

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from hythe.builds.forge_integration.forge_deliveries import MAX_BODY_SIZE, DeliveryResult, WebhookRequest
from hythe.builds.forge_integration.forge_webhooks import ForgeWebhookReply, RemovalReport
from hythe.builds.forge_integration.service import ForgeServices
from hythe.builds.sql.forge_deliveries import DeliveryOutcome, ForgeDelivery
from hythe.hub.access.actions import HubAction
from hythe.hub.access.route_rules import RouteRule
from hythe.hub.errors import HubError
from hythe.hub.routes.declared_route import DeclaredRoute
from hythe.hub.routes.endpoint import ApiRequest, Endpoint, Nothing
from hythe.hub.routes.problem_details import BadRequest, problem_response
from hythe.hub.routes.repositories import repository_path
from hythe.hub.service import HubServices

_STATUS = {
    DeliveryOutcome.ACCEPTED: HTTPStatus.ACCEPTED,
    DeliveryOutcome.IGNORED: HTTPStatus.OK,
    DeliveryOutcome.DUPLICATE: HTTPStatus.OK,
    DeliveryOutcome.STALE: HTTPStatus.CONFLICT,
    DeliveryOutcome.REFUSED: HTTPStatus.UNAUTHORIZED,
}


class BodyTooLarge(HubError):
    """The body is larger than any forge sends."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class InstallBody(msgspec.Struct, frozen=True):
    """The hub's URL as forges reach it, unless the setting ``public_url`` has it."""

    hub_url: str = ""


class ForgeDeliveriesReply(msgspec.Struct, frozen=True):
    """The recent deliveries of a webhook, newest first."""

    items: tuple[ForgeDelivery, ...]


def routes(forges: ForgeServices) -> list[BaseRoute]:
    """Return the route that forges send to."""

    async def receive(request: Request) -> Response:
        try:
            result = await _receive(forges, request)
        except Exception as error:
            return problem_response(error)
        return Response(msgspec.json.encode(result), _STATUS[result.outcome], media_type="application/json")

    return [DeclaredRoute("/hooks/{id}", receive, {"POST": (RouteRule.SIGNATURE,)})]


async def _receive(forges: ForgeServices, request: Request) -> DeliveryResult:
    forge_webhook_id = request.path_params["id"]
    await forges.deliveries.require(forge_webhook_id)
    headers = {name.lower(): value for name, value in request.headers.items()}
    address = request.client.host if request.client else ""
    received = WebhookRequest(headers=headers, body=await _read_body(request), address=address)
    return await forges.deliveries.receive(forge_webhook_id, received)


async def _read_body(request: Request) -> bytes:
    """Return the raw body, which is what the forge signs."""
    length = request.headers.get("content-length", "0")
    if not length.isdigit() or int(length) > MAX_BODY_SIZE:
        raise _too_large()
    chunks, size = [], 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > MAX_BODY_SIZE:
                raise _too_large()
            chunks.append(chunk)
    except ClientDisconnect as error:
        raise BadRequest("the request body is incomplete") from error
    return b"".join(chunks)


def _too_large() -> BodyTooLarge:
    return BodyTooLarge(f"the request body is larger than {MAX_BODY_SIZE} bytes")


class ForgeWebhookEndpoints:
    """The endpoints of a build configuration's webhook."""

    def __init__(self, forges: ForgeServices) -> None:
        self._webhooks = forges.webhooks

    def table(self) -> tuple[Endpoint, ...]:
        """Return the endpoints."""
        root = "/api/v1/repositories/{namespace}/{name:path}/build-configuration/forge-webhook"
        return (
            Endpoint(
                "GET",
                f"{root}/deliveries",
                "List webhook deliveries",
                self.deliveries,
                reply=ForgeDeliveriesReply,
                action=HubAction.VIEW_BUILD_SETTINGS,
            ),
            Endpoint(
                "GET",
                root,
                "Show the webhook and the deploy key",
                self.show,
                reply=ForgeWebhookReply,
                action=HubAction.VIEW_BUILD_SETTINGS,
            ),
            Endpoint(
                "POST",
                root,
                "Install the webhook and the deploy key, or create them to paste",
                self.install,
                body=InstallBody,
                reply=ForgeWebhookReply,
                action=HubAction.CONFIGURE_BUILDS,
            ),
            Endpoint(
                "DELETE",
                root,
                "Remove the webhook and the deploy key",
                self.remove,
                reply=RemovalReport,
                action=HubAction.CONFIGURE_BUILDS,
            ),
        )

    async def show(self, _hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> ForgeWebhookReply:
        """GET .../forge-webhook."""
        return await self._webhooks.get(call.actor, repository_path(call))

    async def install(self, _hub: HubServices, call: ApiRequest[InstallBody, Nothing]) -> ForgeWebhookReply:
        """POST .../forge-webhook."""
        return await self._webhooks.install(call.actor, repository_path(call), call.body.hub_url)

    async def remove(self, _hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> RemovalReport:
        """DELETE .../forge-webhook."""
        return await self._webhooks.remove(call.actor, repository_path(call))

    async def deliveries(self, _hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> ForgeDeliveriesReply:
        """GET .../forge-webhook/deliveries."""
        return ForgeDeliveriesReply(tuple(await self._webhooks.list_deliveries(call.actor, repository_path(call))))
