"""Rows of webhook deliveries, and of where each branch and tag was seen last."""

from datetime import datetime, timedelta
from enum import Enum

import msgspec
from sqlalchemy import delete, select

from hythe.database import Session
from hythe.database.port import insert
from hythe.database.tables.forges import forge_deliveries, forge_refs, forge_webhooks
from hythe.forges.source_ref import SourceRef, SourceType

LISTED = 100
"""Deliveries of one webhook that are kept for looking at."""
REMEMBERED = timedelta(days=90)
"""How long the id of a delivery that was taken is known; longer than any forge sends it again."""
SEEN = 50
"""Earlier commits of a branch by which an old delivery is noticed."""


class Outcome(Enum):
    """What came of a delivery."""

    ACCEPTED = "accepted"
    IGNORED = "ignored"
    DUPLICATE = "duplicate"
    STALE = "stale"
    REFUSED = "refused"


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery, as it is listed."""

    at: datetime
    address: str
    event: str
    delivery: str
    outcome: Outcome
    detail: str


class Head(msgspec.Struct, frozen=True):
    """Where a branch or tag was seen last (empty: deleted), and where it was before."""

    commit: str
    seen: tuple[str, ...] = ()


async def take(session: Session, forge_webhook_id: str, received: Received) -> bool:
    """Write down a delivery that was signed; returns False when its id was taken before."""
    values = _values(forge_webhook_id, received) | {"accepted_delivery": received.delivery}
    statement = insert(session, forge_deliveries).values(**values)
    return bool(await session.run(statement.on_conflict_do_nothing()))


async def settle(session: Session, forge_webhook_id: str, received: Received) -> None:
    """Write what came of a delivery that was taken."""
    statement = insert(session, forge_deliveries).values(
        **_values(forge_webhook_id, received), accepted_delivery=received.delivery
    )
    settled = {"outcome": received.outcome.value, "detail": received.detail}
    await session.run(
        statement.on_conflict_do_update(index_elements=["forge_webhook_id", "accepted_delivery"], set_=settled)
    )


async def refuse(session: Session, forge_webhook_id: str, received: Received) -> None:
    """Write down a delivery that was not taken; only the last of these are kept."""
    await session.run(
        insert(session, forge_deliveries).values(**_values(forge_webhook_id, received), accepted_delivery=None)
    )
    own = (forge_deliveries.c.forge_webhook_id == forge_webhook_id, forge_deliveries.c.accepted_delivery.is_(None))
    newest_first = select(forge_deliveries.c.id).where(*own).order_by(forge_deliveries.c.id.desc())
    oldest = await session.row(newest_first.offset(LISTED).limit(1))
    if oldest is not None:
        await session.run(delete(forge_deliveries).where(*own, forge_deliveries.c.id <= oldest.id))


async def forget_old(session: Session, forge_webhook_id: str, now: datetime) -> None:
    """Delete what is older than REMEMBERED."""
    old = (forge_deliveries.c.forge_webhook_id == forge_webhook_id, forge_deliveries.c.at < now - REMEMBERED)
    await session.run(delete(forge_deliveries).where(*old))


async def listed(session: Session, forge_webhook_id: str) -> list[Received]:
    """Return the last deliveries of a webhook, the newest first."""
    where = forge_deliveries.c.forge_webhook_id == forge_webhook_id
    rows = await session.rows(
        select(forge_deliveries).where(where).order_by(forge_deliveries.c.id.desc()).limit(LISTED)
    )
    return [
        Received(
            at=row.at,
            address=row.address,
            event=row.event,
            delivery=row.delivery,
            outcome=Outcome(row.outcome),
            detail=row.detail,
        )
        for row in rows
    ]


async def head(session: Session, forge_webhook_id: str, ref: SourceRef) -> Head | None:
    """Return where a branch or tag was seen last, None when it never was."""
    where = (forge_refs.c.forge_webhook_id == forge_webhook_id, forge_refs.c.ref == _key(ref))
    row = await session.row(select(forge_refs).where(*where))
    return Head(row.head, tuple(msgspec.json.decode(row.seen, type=list[str]))) if row else None


async def gone(session: Session, configuration_id: int) -> frozenset[SourceRef]:
    """Return the branches and tags that a set-up's webhook told the end of."""
    statement = select(forge_refs.c.ref).join(forge_webhooks, forge_webhooks.c.id == forge_refs.c.forge_webhook_id)
    rows = await session.rows(
        statement.where(forge_webhooks.c.configuration_id == configuration_id, forge_refs.c.head == "")
    )
    parts = [row.ref.partition("/") for row in rows]
    return frozenset(SourceRef(SourceType(kind), name) for kind, _, name in parts)


async def move_head(session: Session, forge_webhook_id: str, ref: SourceRef, was: Head | None) -> None:
    """Write where a branch or tag is now; ``ref`` without commit: nowhere."""
    seen = tuple(dict.fromkeys(commit for commit in (ref.commit, *(was.seen if was else ())) if commit))[:SEEN]
    values = {"head": ref.commit, "seen": msgspec.json.encode(seen).decode()}
    statement = insert(session, forge_refs).values(forge_webhook_id=forge_webhook_id, ref=_key(ref), **values)
    await session.run(statement.on_conflict_do_update(index_elements=["forge_webhook_id", "ref"], set_=values))


def _key(ref: SourceRef) -> str:
    return f"{ref.type.value}/{ref.name}"


def _values(forge_webhook_id: str, received: Received) -> dict[str, object]:
    return {
        "forge_webhook_id": forge_webhook_id,
        "at": received.at,
        "address": received.address[:64],
        "event": received.event[:100],
        "delivery": received.delivery[:200],
        "outcome": received.outcome.value,
        "detail": received.detail[:500],
    }
