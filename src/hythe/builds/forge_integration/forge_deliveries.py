"""Webhook requests from forges: checked, deduplicated, and turned into builds in one transaction."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta

import msgspec

from hythe.builds.build import Cause, SourceCommit
from hythe.builds.builds import BuildRequest, BuildService, blocked_account
from hythe.builds.configuration import BuildConfiguration
from hythe.builds.forge_integration.forge_webhooks import SECRET_PURPOSE
from hythe.builds.queue import BuildQueue
from hythe.builds.sql import configurations as configuration_rows
from hythe.builds.sql import forge_deliveries as rows
from hythe.builds.sql import forge_webhooks as webhook_rows
from hythe.builds.sql.forge_deliveries import DeliveryOutcome, ForgeDelivery
from hythe.database import Database, Session
from hythe.forges.adapters import webhook_format
from hythe.forges.port import ForgeEvent, InvalidEvent, RefUpdate, WebhookFormat
from hythe.forges.source_ref import GIT, ForgeKind
from hythe.hub.errors import NotFound
from hythe.hub.secret_box import SecretBox
from hythe.registry.clock import Clock

MAX_BODY_SIZE = 25 << 20
"""The largest body that GitHub sends."""
MAX_AGE = timedelta(days=4)
"""Older deliveries are rejected, if they say when they were sent; forges retry for at most three days."""


class WebhookRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request as received; header names in lower case."""

    headers: Mapping[str, str]
    body: bytes
    address: str


class DeliveryResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a request, with the numbers of the builds that it queued."""

    outcome: DeliveryOutcome
    detail: str
    builds: tuple[int, ...] = ()


class _Untrusted(Exception):
    """Why a request is refused."""


class ForgeDeliveryService:
    """Receives webhook requests from forges."""

    def __init__(
        self, database: Database, secret_box: SecretBox, builds: BuildService, queue: BuildQueue, clock: Clock
    ) -> None:
        self._database = database
        self._secret_box = secret_box
        self._builds = builds
        self._queue = queue
        self._clock = clock

    async def require(self, forge_webhook_id: str) -> None:
        """Raise NotFound unless the webhook exists. Call it before the body is read."""
        async with self._database.reading() as session:
            found = await webhook_rows.by_id(session, forge_webhook_id)
        if found is None or found[0].configuration_id is None:
            raise _not_found()

    async def receive(self, forge_webhook_id: str, request: WebhookRequest) -> DeliveryResult:
        """Process and record one request. Raises NotFound."""
        async with self._database.reading() as session:
            found = await webhook_rows.by_id(session, forge_webhook_id)
            configuration = await configuration_rows.by_id(session, found[0].configuration_id or 0) if found else None
        if found is None or configuration is None:
            raise _not_found()
        secret = self._secret_box.unseal(SECRET_PURPOSE, found[1])
        try:
            # Hashing a large body takes long, and lets the event loop's thread run.
            verified = asyncio.to_thread(_verified, configuration.source.forge, secret, request)
            webhooks, delivery_id = await verified
            event = webhooks.parse(request.headers, request.body)
        except (_Untrusted, InvalidEvent) as error:
            return await self._refuse(forge_webhook_id, request, str(error))
        delivery = self._delivery(request, event.event, delivery_id[:200])
        async with self._database.writing() as session:
            result = await self._accept_once(session, forge_webhook_id, configuration, event, delivery)
        if result.builds:
            self._queue.wake()
        return result

    def _delivery(self, request: WebhookRequest, event: str, delivery_id: str = "") -> ForgeDelivery:
        return ForgeDelivery(
            at=self._clock(),
            address=request.address,
            event=event,
            delivery=delivery_id,
            outcome=DeliveryOutcome.IGNORED,
            detail="",
        )

    async def _refuse(self, forge_webhook_id: str, request: WebhookRequest, reason: str) -> DeliveryResult:
        known = webhook_format(request.headers)
        delivery = self._delivery(request, known[1].event(request.headers) if known else "")
        result = DeliveryResult(outcome=DeliveryOutcome.REFUSED, detail=reason)
        async with self._database.writing(durable=False) as session:
            await rows.add_rejected(session, forge_webhook_id, _with_result(delivery, result))
        return result

    async def _accept_once(
        self,
        session: Session,
        forge_webhook_id: str,
        configuration: BuildConfiguration,
        event: ForgeEvent,
        delivery: ForgeDelivery,
    ) -> DeliveryResult:
        if not await rows.add_accepted(session, forge_webhook_id, delivery):
            result = DeliveryResult(outcome=DeliveryOutcome.DUPLICATE, detail="this delivery was received before")
            await rows.add_rejected(session, forge_webhook_id, _with_result(delivery, result))
            return result
        result = await self._process(session, forge_webhook_id, configuration, event)
        await rows.settle(session, forge_webhook_id, _with_result(delivery, result))
        await rows.delete_old(session, forge_webhook_id, delivery.at)
        return result

    async def _process(
        self, session: Session, forge_webhook_id: str, configuration: BuildConfiguration, event: ForgeEvent
    ) -> DeliveryResult:
        if event.sent_at is not None and self._clock() - event.sent_at > MAX_AGE:
            detail = f"too old: sent on {event.sent_at:%Y-%m-%d %H:%M} UTC"
            return DeliveryResult(outcome=DeliveryOutcome.STALE, detail=detail)
        expected, actual = configuration.source.forge_repository, event.repository
        if configuration.source.forge != GIT and actual and actual.lower() != expected.lower():
            detail = f"the event is for {actual}, but the source is {expected}"
            return DeliveryResult(outcome=DeliveryOutcome.IGNORED, detail=detail)
        for ref in event.deleted:
            state = await rows.ref_state(session, forge_webhook_id, ref)
            await rows.set_ref_state(session, forge_webhook_id, ref, state)
        if not event.updates:
            detail = f"{event.event or 'the event'} updates no branch or tag"
            return DeliveryResult(outcome=DeliveryOutcome.IGNORED, detail=detail)
        results = [
            await self._process_update(session, forge_webhook_id, configuration, update, event.pusher)
            for update in event.updates
        ]
        return _combined(results)

    async def _process_update(
        self, session: Session, forge_webhook_id: str, configuration: BuildConfiguration, update: RefUpdate, pusher: str
    ) -> DeliveryResult:
        """Queue the builds of one branch or tag, unless the update is stale.

        An update is current if it starts at the last known commit. Otherwise (deliveries were lost, delayed, or sent
        again with another id) it is current only if its commit was not seen on this ref before.
        """
        ref = update.ref
        name, commit = f"{ref.type.value} {ref.name}", ref.commit[:12]
        state = await rows.ref_state(session, forge_webhook_id, ref)
        if state is not None and update.before != state.commit and ref.commit in state.seen:
            detail = f"{name} has already moved on from {commit}"
            return DeliveryResult(outcome=DeliveryOutcome.STALE, detail=detail)
        await rows.set_ref_state(session, forge_webhook_id, ref, state)
        if not configuration.active:
            return DeliveryResult(outcome=DeliveryOutcome.IGNORED, detail="builds of this repository are disabled")
        if configuration.account_blocked:
            return DeliveryResult(outcome=DeliveryOutcome.IGNORED, detail=blocked_account(configuration))
        request = BuildRequest(cause=Cause.PUSH, by=pusher[:250], commit=SourceCommit(update.message, update.author))
        queued = await self._builds.queue_ref(session, configuration, ref, request)
        if not queued:
            return DeliveryResult(outcome=DeliveryOutcome.IGNORED, detail=f"no rule matches {name}")
        detail = f"{name} at {commit}: {len(queued)} build{'s' if len(queued) > 1 else ''}"
        return DeliveryResult(outcome=DeliveryOutcome.ACCEPTED, detail=detail, builds=tuple(queued))


def _not_found() -> NotFound:
    return NotFound("this webhook does not exist", "remove it at the forge: its build configuration was deleted")


def _verified(expected: ForgeKind, secret: str, request: WebhookRequest) -> tuple[WebhookFormat, str]:
    """Return the format and the id of a signed request. Raises _Untrusted."""
    known = webhook_format(request.headers)
    if known is None:
        raise _Untrusted("the headers of a known forge are missing")
    kind, webhooks = known
    if expected not in (kind, GIT):
        raise _Untrusted(f"the request comes from {kind}, but the source is at {expected}")
    if not webhooks.is_signed(request.headers, request.body, secret):
        raise _Untrusted("the signature is missing or wrong: enter the webhook's secret at the forge")
    delivery_id = webhooks.delivery_id(request.headers, request.body)
    if not delivery_id:
        raise _Untrusted("the delivery has no id")
    return webhooks, delivery_id


def _with_result(delivery: ForgeDelivery, result: DeliveryResult) -> ForgeDelivery:
    return msgspec.structs.replace(delivery, outcome=result.outcome, detail=result.detail)


def _combined(results: list[DeliveryResult]) -> DeliveryResult:
    """Combine the results of all refs of an event; the best outcome counts."""
    order = [DeliveryOutcome.ACCEPTED, DeliveryOutcome.IGNORED, DeliveryOutcome.STALE]
    best = min((result.outcome for result in results), key=order.index)
    builds = tuple(build for result in results for build in result.builds)
    return DeliveryResult(outcome=best, detail="; ".join(result.detail for result in results), builds=builds)
