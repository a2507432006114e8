"""All accounts of the hub in the database, for administrators: users and organizations."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import bindparam, select, update

from hythe.database import Session
from hythe.database.tables.hub import users
from hythe.hub.accounts.namespaces import AccountKind
from hythe.hub.page import Page, Paging
from hythe.hub.roles import HubRole
from hythe.hub.sql.sorted_list import SortedList, page_of

_COLUMNS = (
    users.c.name,
    users.c.email,
    users.c.kind,
    users.c.admin,
    users.c.curator,
    users.c.second_factor,
    users.c.created_at,
    users.c.blocked_at,
)


def _between(column: Any) -> tuple[Any, Any]:
    return (
        column >= bindparam("first", type_=users.c.email.type),
        column < bindparam("end", type_=users.c.email.type),
    )


BY_NAME = SortedList(select(*_COLUMNS), users.c.name, where=_between(users.c.name))
BY_EMAIL = SortedList(select(*_COLUMNS), users.c.email, where=_between(users.c.email))
OF_KIND = SortedList(
    select(*_COLUMNS), users.c.name, where=(users.c.kind == bindparam("wanted_kind"), *_between(users.c.name))
)
ADMINISTRATORS = SortedList(select(*_COLUMNS), users.c.name, where=(users.c.admin.is_(True), *_between(users.c.name)))
CURATORS = SortedList(select(*_COLUMNS), users.c.name, where=(users.c.curator.is_(True), *_between(users.c.name)))
_WITH_ROLE = {HubRole.ADMINISTRATOR: ADMINISTRATORS, HubRole.CURATOR: CURATORS}
_NAMED = select(*_COLUMNS).where(
    users.c.name == bindparam("name", type_=users.c.name.type), users.c.deleted_at.is_(None)
)
_SET_ROLES = update(users).where(users.c.id == bindparam("account_id"))


class Account(msgspec.Struct, frozen=True):
    """An account as administrators see it; an organization has no e-mail address."""

    name: str
    email: str
    kind: AccountKind
    administrator: bool
    curator: bool
    second_factor: bool
    created_at: datetime
    blocked: bool


async def beginning_with(
    session: Session,
    beginning: str,
    paging: Paging,
    *,
    by_email: bool,
    kind: AccountKind | None = None,
    role: HubRole | None = None,
) -> Page[Account]:
    """Return a page of the accounts whose name or e-mail address begins so.

    ``kind`` or ``role``: only such accounts, by name.
    """
    # Names and addresses are in ASCII, and compared by bytes.
    parameters: dict[str, Any] = {"first": beginning, "end": beginning + "\x7f"}
    chosen = BY_EMAIL if by_email else BY_NAME
    if role is not None:
        chosen = _WITH_ROLE[role]
    elif kind is not None:
        chosen = OF_KIND
        parameters["wanted_kind"] = kind.value
    found = await chosen.slice(session, paging, parameters)
    items = tuple(map(_account, found.rows))
    return page_of(found, items, await chosen.total(session, parameters), paging)


async def by_name(session: Session, name: str) -> Account | None:
    """Return the account with this name."""
    row = await session.row(_NAMED, {"name": name})
    return _account(row) if row is not None else None


def _account(row: Any) -> Account:
    kind = AccountKind(row.kind)
    return Account(
        row.name,
        row.email if kind is AccountKind.USER else "",
        kind,
        bool(row.admin),
        bool(row.curator),
        bool(row.second_factor),
        row.created_at,
        row.blocked_at is not None,
    )


async def set_roles(session: Session, account_id: int, *, administrator: bool, curator: bool) -> None:
    """Set the roles of an account on the hub."""
    await session.run(_SET_ROLES.values(admin=administrator, curator=curator), {"account_id": account_id})
