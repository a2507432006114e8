"""SQL of webhook deliveries, and of the last known commit of each branch and tag."""

from datetime import datetime, timedelta
from enum import Enum

import msgspec
from sqlalchemy import delete, select

from hythe.database import Session
from hythe.database.port import insert
from hythe.database.tables.forges import forge_deliveries, forge_refs, forge_webhooks
from hythe.forges.source_ref import SourceRef, SourceType

MAX_LISTED = 100
"""Deliveries of a webhook that are listed, and rejected ones that are kept."""
RETENTION = timedelta(days=90)
"""How long delivery ids are kept to detect duplicates; no forge retries for so long."""
MAX_SEEN_COMMITS = 50
"""Earlier commits of a ref that are kept to detect stale deliveries."""


class DeliveryOutcome(Enum):
    """The result of a delivery."""

    ACCEPTED = "accepted"
    IGNORED = "ignored"
    DUPLICATE = "duplicate"
    STALE = "stale"
    REFUSED = "refused"


class ForgeDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook delivery as the API lists it."""

    at: datetime
    address: str
    event: str
    delivery: str
    outcome: DeliveryOutcome
    detail: str


class RefState(msgspec.Struct, frozen=True):
    """The last known commit of a branch or tag (empty: deleted), and the commits seen so far."""

    commit: str
    seen: tuple[str, ...] = ()


async def add_accepted(session: Session, forge_webhook_id: str, delivery: ForgeDelivery) -> bool:
    """Insert a signed delivery; return False if its id was accepted before."""
    values = _values(forge_webhook_id, delivery) | {"accepted_delivery": delivery.delivery}
    statement = insert(session, forge_deliveries).values(**values)
    return bool(await session.run(statement.on_conflict_do_nothing()))


async def settle(session: Session, forge_webhook_id: str, delivery: ForgeDelivery) -> None:
    """Update the outcome of an accepted delivery."""
    statement = insert(session, forge_deliveries).values(
        **_values(forge_webhook_id, delivery), accepted_delivery=delivery.delivery
    )
    outcome = {"outcome": delivery.outcome.value, "detail": delivery.detail}
    await session.run(
        statement.on_conflict_do_update(index_elements=["forge_webhook_id", "accepted_delivery"], set_=outcome)
    )


async def add_rejected(session: Session, forge_webhook_id: str, delivery: ForgeDelivery) -> None:
    """Insert a delivery that was not accepted; only the last MAX_LISTED of these are kept."""
    await session.run(
        insert(session, forge_deliveries).values(**_values(forge_webhook_id, delivery), accepted_delivery=None)
    )
    rejected = (forge_deliveries.c.forge_webhook_id == forge_webhook_id, forge_deliveries.c.accepted_delivery.is_(None))
    newest_first = select(forge_deliveries.c.id).where(*rejected).order_by(forge_deliveries.c.id.desc())
    oldest = await session.row(newest_first.offset(MAX_LISTED).limit(1))
    if oldest is not None:
        await session.run(delete(forge_deliveries).where(*rejected, forge_deliveries.c.id <= oldest.id))


async def delete_old(session: Session, forge_webhook_id: str, now: datetime) -> None:
    """Delete deliveries older than RETENTION."""
    old = (forge_deliveries.c.forge_webhook_id == forge_webhook_id, forge_deliveries.c.at < now - RETENTION)
    await session.run(delete(forge_deliveries).where(*old))


async def list_recent(session: Session, forge_webhook_id: str) -> list[ForgeDelivery]:
    """Return the recent deliveries of a webhook, newest first."""
    where = forge_deliveries.c.forge_webhook_id == forge_webhook_id
    rows = await session.rows(
        select(forge_deliveries).where(where).order_by(forge_deliveries.c.id.desc()).limit(MAX_LISTED)
    )
    return [
        ForgeDelivery(
            at=row.at,
            address=row.address,
            event=row.event,
            delivery=row.delivery,
            outcome=DeliveryOutcome(row.outcome),
            detail=row.detail,
        )
        for row in rows
    ]


async def ref_state(session: Session, forge_webhook_id: str, ref: SourceRef) -> RefState | None:
    """Return the last known state of a branch or tag, or None if it was never seen."""
    where = (forge_refs.c.forge_webhook_id == forge_webhook_id, forge_refs.c.ref == _key(ref))
    row = await session.row(select(forge_refs).where(*where))
    return RefState(row.head, tuple(msgspec.json.decode(row.seen, type=list[str]))) if row else None


async def set_ref_state(session: Session, forge_webhook_id: str, ref: SourceRef, previous: RefState | None) -> None:
    """Store the commit of a branch or tag; a ``ref`` without a commit was deleted."""
    commits = (ref.commit, *(previous.seen if previous else ()))
    seen = tuple(dict.fromkeys(commit for commit in commits if commit))[:MAX_SEEN_COMMITS]
    values = {"head": ref.commit, "seen": msgspec.json.encode(seen).decode()}
    statement = insert(session, forge_refs).values(forge_webhook_id=forge_webhook_id, ref=_key(ref), **values)
    await session.run(statement.on_conflict_do_update(index_elements=["forge_webhook_id", "ref"], set_=values))


async def deleted_refs(session: Session, configuration_id: int) -> frozenset[SourceRef]:
    """Return the branches and tags that were deleted, according to the build configuration's webhook."""
    statement = select(forge_refs.c.ref).join(forge_webhooks, forge_webhooks.c.id == forge_refs.c.forge_webhook_id)
    rows = await session.rows(
        statement.where(forge_webhooks.c.configuration_id == configuration_id, forge_refs.c.head == "")
    )
    parts = [row.ref.partition("/") for row in rows]
    return frozenset(SourceRef(SourceType(source_type), name) for source_type, _, name in parts)


def _key(ref: SourceRef) -> str:
    return f"{ref.type.value}/{ref.name}"


def _values(forge_webhook_id: str, delivery: ForgeDelivery) -> dict[str, object]:
    return {
        "forge_webhook_id": forge_webhook_id,
        "at": delivery.at,
        "address": delivery.address[:64],
        "event": delivery.event[:100],
        "delivery": delivery.delivery[:200],
        "outcome": delivery.outcome.value,
        "detail": delivery.detail[:500],
    }
