"""Webhooks: the address that forges send to, and their management in the JSON API."""

from http import HTTPStatus

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from hythe.builds.forge_deliveries import MAX_BODY_SIZE, Answer, Sent
from hythe.builds.forge_webhooks import Removed, ShownHook
from hythe.builds.sources import Sources
from hythe.builds.sql.forge_deliveries import Outcome, Received
from hythe.hub.errors import HubError
from hythe.hub.routes.endpoint import ApiRequest, Endpoint, Nothing
from hythe.hub.routes.problem_details import BadRequest, problem_response
from hythe.hub.routes.repositories import repository_path
from hythe.hub.service import HubServices

_STATUS = {
    Outcome.ACCEPTED: HTTPStatus.ACCEPTED,
    Outcome.IGNORED: HTTPStatus.OK,
    Outcome.DUPLICATE: HTTPStatus.OK,
    Outcome.STALE: HTTPStatus.CONFLICT,
    Outcome.REFUSED: HTTPStatus.UNAUTHORIZED,
}


class TooLarge(HubError):
    """A body with more bytes than any forge sends."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class InstallBody(msgspec.Struct, frozen=True):
    """How forges reach this hub, where the setting ``public_url`` does not say."""

    hub_url: str = ""


class DeliveriesReply(msgspec.Struct, frozen=True):
    """The last deliveries of a webhook, the newest first."""

    items: tuple[Received, ...]


def routes(sources: Sources) -> list[BaseRoute]:
    """Return the address that forges send to."""

    async def receive(request: Request) -> Response:
        try:
            answer = await _received(sources, request)
        except Exception as error:
            return problem_response(error)
        return Response(msgspec.json.encode(answer), _STATUS[answer.outcome], media_type="application/json")

    return [Route("/hooks/{id}", receive, methods=["POST"])]


async def _received(sources: Sources, request: Request) -> Answer:
    forge_webhook_id = request.path_params["id"]
    await sources.deliveries.require(forge_webhook_id)
    headers = {name.lower(): value for name, value in request.headers.items()}
    address = request.client.host if request.client else ""
    return await sources.deliveries.receive(
        forge_webhook_id, Sent(headers=headers, body=await _body(request), address=address)
    )


async def _body(request: Request) -> bytes:
    """Return the raw body, which the signature is over."""
    length = request.headers.get("content-length", "0")
    if not length.isdigit() or int(length) > MAX_BODY_SIZE:
        raise TooLarge(f"the body has more than {MAX_BODY_SIZE} bytes")
    pieces, size = [], 0
    try:
        async for piece in request.stream():
            size += len(piece)
            if size > MAX_BODY_SIZE:
                raise TooLarge(f"the body has more than {MAX_BODY_SIZE} bytes")
            pieces.append(piece)
    except ClientDisconnect as error:
        raise BadRequest("the body was cut off") from error
    return b"".join(pieces)


class HookEndpoints:
    """The handlers of a set-up's webhook."""

    def __init__(self, sources: Sources) -> None:
        self._hooks = sources.hooks

    def table(self) -> tuple[Endpoint, ...]:
        """Return the addresses."""
        root = "/api/v1/repositories/{namespace}/{name:path}/build-configuration/forge-webhook"
        return (
            Endpoint(
                "GET",
                f"{root}/deliveries",
                "List what came by the webhook",
                self.deliveries,
                reply=DeliveriesReply,
            ),
            Endpoint("GET", root, "Show the webhook and the deploy key", self.show, reply=ShownHook),
            Endpoint(
                "POST",
                root,
                "Install the webhook and the deploy key, or make them to be pasted",
                self.install,
                body=InstallBody,
                reply=ShownHook,
            ),
            Endpoint("DELETE", root, "Remove the webhook and the deploy key", self.remove, reply=Removed),
        )

    async def show(self, _hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> ShownHook:
        """GET .../webhook."""
        return await self._hooks.shown(call.actor, repository_path(call))

    async def install(self, _hub: HubServices, call: ApiRequest[InstallBody, Nothing]) -> ShownHook:
        """POST .../webhook."""
        return await self._hooks.install(call.actor, repository_path(call), call.body.hub_url)

    async def remove(self, _hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> Removed:
        """DELETE .../webhook."""
        return await self._hooks.remove(call.actor, repository_path(call))

    async def deliveries(self, _hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> DeliveriesReply:
        """GET .../webhook/deliveries."""
        return DeliveriesReply(tuple(await self._hooks.deliveries(call.actor, repository_path(call))))
