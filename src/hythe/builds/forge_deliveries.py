"""Webhook requests of forges: checked, told from repeated and old ones, and made into builds in one transaction."""

from collections.abc import Mapping
from datetime import timedelta

import msgspec

from hythe.builds.build import Cause, SourceCommit
from hythe.builds.builds import BuildRequest, BuildService
from hythe.builds.configuration import BuildConfiguration, Forge
from hythe.builds.forge_webhooks import SECRET
from hythe.builds.queue import BuildQueue
from hythe.builds.secret_box import SecretBox
from hythe.builds.sql import configurations as configuration_rows
from hythe.builds.sql import forge_deliveries as rows
from hythe.builds.sql import forge_webhooks as webhook_rows
from hythe.builds.sql.forge_deliveries import Outcome, Received
from hythe.database import Database, Session
from hythe.forges.known import hooks_of
from hythe.forges.port import Delivery, Hooks, Move, UnreadableDelivery
from hythe.hub.errors import NotFound
from hythe.registry.clock import Clock

MAX_BODY_SIZE = 25 << 20
"""Bytes of the largest body: what GitHub sends at most."""
STALE_AFTER = timedelta(days=4)
"""How old a delivery may be that says when it was sent; forges send again for three days at most."""


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it came; header names in small letters."""

    headers: Mapping[str, str]
    body: bytes
    address: str


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a request."""

    outcome: Outcome
    detail: str
    builds: tuple[int, ...] = ()


class _Refused(Exception):
    """Why a request is not believed."""


class ForgeDeliveries:
    """Takes what forges send."""

    def __init__(
        self, database: Database, secret_box: SecretBox, builds: BuildService, queue: BuildQueue, clock: Clock
    ) -> None:
        self._database = database
        self._secret_box = secret_box
        self._builds = builds
        self._queue = queue
        self._clock = clock

    async def require(self, forge_webhook_id: str) -> None:
        """Return when there is such a webhook: before its body is read. Raises NotFound."""
        async with self._database.reading() as session:
            found = await webhook_rows.by_id(session, forge_webhook_id)
        if found is None or found[0].configuration_id is None:
            raise NotFound("there is no such webhook", "remove it at the forge: its set-up is gone")

    async def receive(self, forge_webhook_id: str, sent: Sent) -> Answer:
        """Take one request; whatever comes of it is written down. Raises NotFound."""
        async with self._database.reading() as session:
            found = await webhook_rows.by_id(session, forge_webhook_id)
            configuration = await configuration_rows.by_id(session, found[0].configuration_id or 0) if found else None
        if found is None or configuration is None:
            raise NotFound("there is no such webhook", "remove it at the forge: its set-up is gone")
        try:
            hooks, delivery_id = self._believed(
                configuration.source.forge, self._secret_box.unseal(SECRET, found[1]), sent
            )
            delivery = hooks.read(sent.headers, sent.body)
        except (_Refused, UnreadableDelivery) as error:
            return await self._refuse(forge_webhook_id, sent, str(error))
        async with self._database.writing() as session:
            answer = await self._take(
                session, forge_webhook_id, configuration, delivery, self._received(sent, delivery_id, delivery)
            )
        if answer.builds:
            self._queue.wake()
        return answer

    def _believed(self, forge: Forge, secret: str, sent: Sent) -> tuple[Hooks, str]:
        """Return who sent this and its id, when it was signed. Raises _Refused."""
        known = hooks_of(sent.headers)
        if known is None:
            raise _Refused("this comes from no forge that the hub knows: its headers are missing")
        kind, hooks = known
        if forge not in (kind, Forge.GIT):
            raise _Refused(f"this comes from {kind.value}, and the source is at {forge.value}")
        if not hooks.is_signed(sent.headers, sent.body, secret):
            raise _Refused("the signature is missing or wrong: give the forge the secret that the set-up shows")
        delivery_id = hooks.delivery_id(sent.headers, sent.body)
        if not delivery_id:
            raise _Refused("the delivery has no id")
        return hooks, delivery_id

    def _received(self, sent: Sent, delivery_id: str, delivery: Delivery) -> Received:
        return Received(
            at=self._clock(),
            address=sent.address,
            event=delivery.event,
            delivery=delivery_id[:200],
            outcome=Outcome.IGNORED,
            detail="",
        )

    async def _refuse(self, forge_webhook_id: str, sent: Sent, why: str) -> Answer:
        headers = sent.headers
        event = next((headers[name] for name in _EVENT_HEADERS if name in headers), "")
        received = Received(
            at=self._clock(), address=sent.address, event=event, delivery="", outcome=Outcome.REFUSED, detail=why
        )
        async with self._database.writing(durable=False) as session:
            await rows.refuse(session, forge_webhook_id, received)
        return Answer(outcome=Outcome.REFUSED, detail=why)

    async def _take(
        self,
        session: Session,
        forge_webhook_id: str,
        configuration: BuildConfiguration,
        delivery: Delivery,
        received: Received,
    ) -> Answer:
        if not await rows.take(session, forge_webhook_id, received):
            answer = Answer(outcome=Outcome.DUPLICATE, detail="this delivery came before")
            await rows.refuse(session, forge_webhook_id, _with(received, answer))
            return answer
        answer = await self._worked(session, forge_webhook_id, configuration, delivery)
        await rows.settle(session, forge_webhook_id, _with(received, answer))
        await rows.forget_old(session, forge_webhook_id, received.at)
        return answer

    async def _worked(
        self, session: Session, forge_webhook_id: str, configuration: BuildConfiguration, delivery: Delivery
    ) -> Answer:
        if delivery.sent_at is not None and self._clock() - delivery.sent_at > STALE_AFTER:
            return Answer(outcome=Outcome.STALE, detail=f"it was sent on {delivery.sent_at:%Y-%m-%d %H:%M} UTC")
        expected = configuration.source.forge_repository
        about = delivery.repository
        if configuration.source.forge is not Forge.GIT and about and about.lower() != expected.lower():
            return Answer(outcome=Outcome.IGNORED, detail=f"it is about {about}, and the source is {expected}")
        for ref in delivery.gone:
            await rows.move_head(session, forge_webhook_id, ref, await rows.head(session, forge_webhook_id, ref))
        if not delivery.moves:
            return Answer(outcome=Outcome.IGNORED, detail=f"{delivery.event or 'it'} moves no branch and no tag")
        answers = [
            await self._without_old_credentials(session, forge_webhook_id, configuration, move, delivery.pusher)
            for move in delivery.moves
        ]
        return _joined(answers)

    async def _without_old_credentials(
        self, session: Session, forge_webhook_id: str, configuration: BuildConfiguration, move: Move, pusher: str
    ) -> Answer:
        """Queue what one branch or tag builds, unless this tells of the past.

        A delivery that goes on from where the ref was seen last is new. One that does not (some were lost, or it came
        late or again under another id) is new when its commit was not seen there before.
        """
        what = f"{move.ref.type.value} {move.ref.name}"
        was = await rows.head(session, forge_webhook_id, move.ref)
        if was is not None and move.before != was.commit and move.ref.commit in was.seen:
            return Answer(outcome=Outcome.STALE, detail=f"{what} was at {move.ref.commit[:12]} before, and moved on")
        await rows.move_head(session, forge_webhook_id, move.ref, was)
        if not configuration.active:
            return Answer(outcome=Outcome.IGNORED, detail="builds of this repository are disabled")
        wanted = BuildRequest(cause=Cause.PUSH, by=pusher[:250], commit=SourceCommit(move.message, move.author))
        queued = await self._builds.queue_ref(session, configuration, move.ref, wanted)
        if not queued:
            return Answer(outcome=Outcome.IGNORED, detail=f"no rule builds {what}")
        detail = f"{what} at {move.ref.commit[:12]}: {len(queued)} build{'s' if len(queued) > 1 else ''}"
        return Answer(outcome=Outcome.ACCEPTED, detail=detail, builds=tuple(queued))


_EVENT_HEADERS = ("x-gitea-event", "x-forgejo-event", "x-gitlab-event", "x-event-key", "x-github-event")


def _with(received: Received, answer: Answer) -> Received:
    return msgspec.structs.replace(received, outcome=answer.outcome, detail=answer.detail)


def _joined(answers: list[Answer]) -> Answer:
    """Make one answer of those about each ref; the best outcome counts."""
    order = [Outcome.ACCEPTED, Outcome.IGNORED, Outcome.STALE]
    best = min((answer.outcome for answer in answers), key=order.index)
    builds = tuple(build for answer in answers for build in answer.builds)
    return Answer(outcome=best, detail="; ".join(answer.detail for answer in answers), builds=builds)
