"""New names and owners of accounts and repositories, in the database."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, bindparam, delete, insert, select, update

from hythe.database import Session
from hythe.database.tables.hub import hub_repositories, namespaces, personal_tokens, users
from hythe.database.tables.names import transfers
from hythe.database.tables.tokens import trust_rules
from hythe.hub.page import Page, Paging
from hythe.hub.sql.sorted_list import SortedList, page_of


class Account(msgspec.Struct, frozen=True):
    """An account to rename, locked: ``renames`` counts those of the day ``renamed_on``."""

    user_id: int
    namespace_id: int
    name: str
    renamed_on: int | None
    renames: int | None


class Transfer(msgspec.Struct, frozen=True):
    """A repository that is offered to another account."""

    repository_id: int
    repository: str
    to: str
    name: str
    requested_by: str
    created_at: datetime
    expires_at: datetime


_ACCOUNT = (
    select(
        users.c.id.label("user_id"),
        namespaces.c.id.label("namespace_id"),
        users.c.name,
        namespaces.c.renamed_on,
        namespaces.c.renames,
    )
    .join_from(users, namespaces, namespaces.c.user_id == users.c.id)
    .where(users.c.name == bindparam("name"), users.c.deleted_at.is_(None))
    .with_for_update(of=users, key_share=True)
)
_RENAME_USER = update(users).where(users.c.id == bindparam("id_")).values(name=bindparam("name_"))
_RENAME_NAMESPACE = (
    update(namespaces)
    .where(namespaces.c.id == bindparam("id_"))
    .values(name=bindparam("name_"), renamed_on=bindparam("day"), renames=bindparam("count"))
)
_TOKEN_LIMITS = select(personal_tokens.c.id, personal_tokens.c.limits).where(
    personal_tokens.c.user_id == bindparam("user_id"), personal_tokens.c.limits.is_not(None)
)
_SET_TOKEN_LIMITS = (
    update(personal_tokens).where(personal_tokens.c.id == bindparam("id_")).values(limits=bindparam("limits_"))
)
_RULE_LIMITS = select(trust_rules.c.id, trust_rules.c.limits).where(trust_rules.c.user_id == bindparam("user_id"))
_SET_RULE_LIMITS = update(trust_rules).where(trust_rules.c.id == bindparam("id_")).values(limits=bindparam("limits_"))
_MOVE = (
    update(hub_repositories)
    .where(hub_repositories.c.repository_id == bindparam("id_"))
    .values(
        namespace_id=bindparam("namespace"),
        name=bindparam("name_"),
        official=bindparam("top_level"),
        updated_at=bindparam("at"),
    )
)
_TAKEN = select(hub_repositories.c.repository_id).where(
    hub_repositories.c.namespace_id == bindparam("namespace_id"), hub_repositories.c.name == bindparam("name")
)
_NEXT = (
    select(hub_repositories.c.repository_id, hub_repositories.c.name)
    .where(hub_repositories.c.namespace_id == bindparam("namespace_id"), hub_repositories.c.name > bindparam("after"))
    .order_by(hub_repositories.c.name)
    .limit(bindparam("limit"))
)

_from, _to = namespaces.alias("from"), namespaces.alias("to")
_TRANSFERS = (
    select(
        transfers.c.repository_id,
        (_from.c.name + "/" + hub_repositories.c.name).label("repository"),
        _to.c.name.label("to"),
        transfers.c.name,
        transfers.c.requested_by,
        transfers.c.created_at,
        transfers.c.expires_at,
    )
    .join_from(transfers, hub_repositories, hub_repositories.c.repository_id == transfers.c.repository_id)
    .join(_from, _from.c.id == hub_repositories.c.namespace_id)
    .join(_to, _to.c.id == transfers.c.namespace_id)
)
_TRANSFER = _TRANSFERS.where(
    transfers.c.repository_id == bindparam("repository_id"), transfers.c.expires_at > bindparam("now")
)
TO_NAMESPACE = SortedList(
    _TRANSFERS,
    transfers.c.repository_id,
    where=(transfers.c.namespace_id == bindparam("namespace_id"), transfers.c.expires_at > bindparam("now")),
)
_REMOVE_TRANSFER = delete(transfers).where(transfers.c.repository_id == bindparam("repository_id"))


async def lock_account(session: Session, name: str) -> Account | None:
    """Return and lock the account with this name."""
    row = await session.row(_ACCOUNT, {"name": name})
    return None if row is None else msgspec.convert(row, Account, from_attributes=True)


async def rename_account(session: Session, account: Account, name: str, day: int, count: int) -> None:
    """Give an account and its namespace a new name, the ``count``th of this day. Raises IntegrityError."""
    await session.run(_RENAME_USER, {"id_": account.user_id, "name_": name})
    values = {"id_": account.namespace_id, "name_": name, "day": day, "count": count}
    await session.run(_RENAME_NAMESPACE, values)


async def rename_limits(session: Session, user_id: int, old: str, new: str) -> None:
    """Let the limits of an account's tokens, robots and trust rules name its repositories as they are called now."""
    for row in await session.rows(_TOKEN_LIMITS, {"user_id": user_id}):
        await session.run(_SET_TOKEN_LIMITS, {"id_": row.id, "limits_": _renamed(row.limits, old, new)})
    for row in await session.rows(_RULE_LIMITS, {"user_id": user_id}):
        await session.run(_SET_RULE_LIMITS, {"id_": row.id, "limits_": _renamed(row.limits, old, new)})


def _renamed(limits: str, old: str, new: str) -> str:
    patterns = (each.partition("/") for each in limits.split())
    return " ".join(f"{new if namespace == old else namespace}/{rest}" for namespace, _, rest in patterns)


async def move(
    session: Session, repository_id: int, namespace_id: int, name: str, at: datetime, *, official: bool
) -> None:
    """Give a repository of the index a new name or namespace. Raises IntegrityError if the name is taken."""
    values = {"id_": repository_id, "namespace": namespace_id, "name_": name, "at": at, "top_level": official}
    await session.run(_MOVE, values)


async def is_taken(session: Session, namespace_id: int, name: str) -> bool:
    """Return whether a repository has this name."""
    return await session.row(_TAKEN, {"namespace_id": namespace_id, "name": name}) is not None


async def repositories_after(session: Session, namespace_id: int, after: str, limit: int) -> Sequence[tuple[int, str]]:
    """Return ids and names of the next repositories of a namespace, by name."""
    rows = await session.rows(_NEXT, {"namespace_id": namespace_id, "after": after, "limit": limit})
    return [(row.repository_id, row.name) for row in rows]


async def add_transfer(
    session: Session, repository_id: int, namespace_id: int, name: str, by: str, at: datetime, until: datetime
) -> None:
    """Offer a repository to the account of a namespace, instead of an earlier offer."""
    await end_transfer(session, repository_id)
    values = {"repository_id": repository_id, "namespace_id": namespace_id, "name": name, "requested_by": by}
    await session.run(insert(transfers).values(**values, created_at=at, expires_at=until))


async def transfer(session: Session, repository_id: int, now: datetime) -> Transfer | None:
    """Return the offer of a repository that has not expired."""
    row = await session.row(_TRANSFER, {"repository_id": repository_id, "now": now})
    return None if row is None else _transfer(row)


async def transfers_to(session: Session, namespace_id: int, now: datetime, paging: Paging) -> Page[Transfer]:
    """Return a page of the repositories that are offered to an account."""
    parameters = {"namespace_id": namespace_id, "now": now}
    found = await TO_NAMESPACE.slice(session, paging, parameters)
    total = await TO_NAMESPACE.total(session, parameters)
    return page_of(found, tuple(map(_transfer, found.rows)), total, paging)


async def end_transfer(session: Session, repository_id: int) -> bool:
    """Withdraw the offer of a repository; return False if there is none."""
    return bool(await session.run(_REMOVE_TRANSFER, {"repository_id": repository_id}))


async def remove_expired_transfers(session: Session, now: datetime) -> None:
    """Delete offers that expired."""
    await session.run(delete(transfers).where(transfers.c.expires_at <= now))


def _transfer(row: Row[Any]) -> Transfer:
    return msgspec.convert(row, Transfer, from_attributes=True)
