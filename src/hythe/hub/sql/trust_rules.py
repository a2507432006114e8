"""Trust rules in the database, and the ID tokens that were exchanged."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, bindparam, delete, func, insert, select, update

from hythe.database import Session
from hythe.database.tables.tokens import exchanged_id_tokens, trust_rules
from hythe.hub.actor import Right
from hythe.hub.sql.token_limits import rights_of, words_of
from hythe.hub.tokens.trust_rule import TrustRule, TrustTerms

_RULE = trust_rules.c
_OF_ACCOUNT = select(trust_rules).where(_RULE.user_id == bindparam("user_id"))
_LISTED = _OF_ACCOUNT.order_by(_RULE.name)
_BY_NAME = _OF_ACCOUNT.where(_RULE.name == bindparam("name"))
_BY_ISSUER = _OF_ACCOUNT.where(_RULE.issuer == bindparam("issuer"))
_COUNTED = select(func.count()).select_from(
    select(_RULE.id).where(_RULE.user_id == bindparam("user_id")).limit(bindparam("at_most")).subquery("counted")
)


async def add(session: Session, user_id: int, terms: TrustTerms, at: datetime) -> None:
    """Add a rule to an account's namespace. Raises IntegrityError if the name is taken."""
    await session.run(insert(trust_rules).values(user_id=user_id, created_at=at, **_values(terms)))


async def listed(session: Session, user_id: int) -> tuple[TrustRule, ...]:
    """Return the rules of an account's namespace, by name."""
    return tuple(map(_rule, await session.rows(_LISTED, {"user_id": user_id})))


async def by_name(session: Session, user_id: int, name: str) -> TrustRule | None:
    """Return a rule of an account's namespace."""
    row = await session.row(_BY_NAME, {"user_id": user_id, "name": name})
    return _rule(row) if row else None


async def by_issuer(session: Session, user_id: int, issuer: str) -> tuple[TrustRule, ...]:
    """Return the rules of an account's namespace that trust an issuer, the oldest first."""
    rows = await session.rows(_BY_ISSUER, {"user_id": user_id, "issuer": issuer})
    return tuple(sorted(map(_rule, rows), key=lambda rule: rule.id))


async def count(session: Session, user_id: int, at_most: int) -> int:
    """Return how many rules an account's namespace has, counted up to ``at_most``."""
    row = await session.row(_COUNTED, {"user_id": user_id, "at_most": at_most})
    return int(row[0]) if row else 0


async def change(session: Session, rule_id: int, terms: TrustTerms) -> None:
    """Replace the terms of a rule. Raises IntegrityError if the name is taken."""
    await session.run(update(trust_rules).where(_RULE.id == rule_id).values(_values(terms)))


async def remove(session: Session, rule_id: int) -> None:
    """Delete a rule."""
    await session.run(delete(trust_rules).where(_RULE.id == rule_id))


async def mark_used(session: Session, rule_id: int, at: datetime, address: str) -> None:
    """Record when a rule last gave a token, and to which address."""
    await session.run(update(trust_rules).where(_RULE.id == rule_id).values(used_at=at, used_from=address[:45]))


async def add_exchanged(session: Session, digest: str, expires_at: datetime, now: datetime) -> None:
    """Record that an ID token was exchanged, and forget expired ones. Raises IntegrityError if it was recorded."""
    await session.run(delete(exchanged_id_tokens).where(exchanged_id_tokens.c.expires_at <= now))
    await session.run(insert(exchanged_id_tokens).values(digest=digest, expires_at=expires_at))


def _values(terms: TrustTerms) -> dict[str, Any]:
    return {
        "name": terms.name,
        "issuer": terms.issuer,
        "subject": terms.subject,
        "claims": msgspec.json.encode(terms.claims, order="sorted").decode(),
        "permissions": words_of(terms.rights),
        "limits": " ".join(terms.repositories),
        "lifetime": terms.lifetime_minutes * 60,
    }


def _rule(row: Row[Any]) -> TrustRule:
    rights = rights_of(row.permissions)
    return TrustRule(
        row.name,
        row.issuer,
        row.subject,
        msgspec.json.decode(row.claims, type=dict[str, str]),
        tuple(right for right in Right if right in rights),
        tuple(row.limits.split()),
        row.lifetime // 60,
        row.id,
        row.created_at,
        row.used_at,
        row.used_from or "",
    )
