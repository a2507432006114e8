"""Organizations in the database: rows of ``users`` that cannot sign in."""

import secrets
from collections.abc import Mapping
from enum import Enum
from typing import Any

from sqlalchemy import ColumnElement, Row, bindparam, delete, func, literal_column, select, update

from hythe.database import Session
from hythe.database.tables.forges import linked_accounts
from hythe.database.tables.hub import (
    known_networks,
    personal_tokens,
    refresh_tokens,
    sessions,
    users,
)
from hythe.database.tables.identities import identities
from hythe.database.tables.organizations import collaborators, invitations, organization_members
from hythe.database.tables.second_factors import passkeys, recovery_codes, totp_secrets
from hythe.database.tables.sign_in import mail_links
from hythe.hub.accounts.namespaces import AccountKind
from hythe.hub.accounts.user import Visibility
from hythe.hub.organizations.organization import DefaultRole, Membership, MemberWord, Organization, member_word
from hythe.hub.page import Page, Paging
from hythe.hub.roles import OrganizationRole
from hythe.hub.sql.sorted_list import SortedList, page_of

_ORGANIZATION: ColumnElement[str] = literal_column(f"'{AccountKind.ORGANIZATION.value}'")

_COLUMNS = (
    users.c.id,
    users.c.name,
    users.c.default_visibility,
    users.c.member_role,
    users.c.members_create,
    users.c.require_second_factor,
    users.c.created_at,
)
_BY_NAME = select(*_COLUMNS).where(
    users.c.name == bindparam("name"), users.c.kind == _ORGANIZATION, users.c.deleted_at.is_(None)
)
_USER_ID = select(users.c.id).where(
    users.c.name == bindparam("name"), users.c.kind != _ORGANIZATION, users.c.deleted_at.is_(None)
)
_LOCK = select(users.c.id).where(users.c.id == bindparam("organization_id")).with_for_update()
_people = users.alias("people")
_MEMBERSHIPS = (
    select(
        users.c.name.label("organization"),
        users.c.members_create,
        users.c.require_second_factor,
        organization_members.c.organization_id,
        organization_members.c.role,
        organization_members.c.joined_at,
        _people.c.second_factor,
    )
    .join_from(organization_members, users, users.c.id == organization_members.c.organization_id)
    .join(_people, _people.c.id == organization_members.c.user_id)
    .where(users.c.deleted_at.is_(None))
)
MEMBERSHIPS = SortedList(
    _MEMBERSHIPS,
    organization_members.c.organization_id,
    where=(organization_members.c.user_id == bindparam("user_id"),),
)
_COUNT = (
    select(func.count()).select_from(organization_members).where(organization_members.c.user_id == bindparam("user_id"))
)
_others = organization_members.alias("others")
_SOLE = (
    select(users.c.name)
    .join_from(organization_members, users, users.c.id == organization_members.c.organization_id)
    .where(
        organization_members.c.user_id == bindparam("user_id"),
        organization_members.c.role == OrganizationRole.OWNER.value,
        users.c.deleted_at.is_(None),
        ~select(1)
        .where(
            _others.c.organization_id == organization_members.c.organization_id,
            _others.c.role == OrganizationRole.OWNER.value,
            _others.c.user_id != bindparam("user_id"),
        )
        .exists(),
    )
    .limit(1)
)
_OWNED_LOCK = (
    select(users.c.id)
    .join_from(organization_members, users, users.c.id == organization_members.c.organization_id)
    .where(organization_members.c.user_id == bindparam("user_id"))
    .order_by(users.c.id)
    .with_for_update(of=users)
)
# What a user has and an organization cannot.
_PERSONAL = (
    sessions,
    refresh_tokens,
    personal_tokens,
    known_networks,
    totp_secrets,
    recovery_codes,
    passkeys,
    identities,
    mail_links,
    collaborators,
    invitations,
)
_CONVERSION = tuple(delete(table).where(table.c.user_id == bindparam("user_id")) for table in _PERSONAL)
_LINKED = select(linked_accounts.c.id).where(linked_accounts.c.user_id == bindparam("user_id")).limit(1)


async def user_id_of(session: Session, name: str) -> int | None:
    """Return the id of the user with this name; None for organizations and deleted accounts."""
    row = await session.row(_USER_ID, {"name": name})
    return int(row.id) if row else None


def placeholder_email() -> str:
    """Return what an organization has instead of an e-mail address; no one can register it."""
    return f"organization:{secrets.token_hex(16)}"


async def by_name(session: Session, name: str) -> Organization | None:
    """Return the organization with this name."""
    row = await session.row(_BY_NAME, {"name": name})
    return _organization(row) if row else None


async def make_organization(session: Session, user_id: int) -> None:
    """Make an organization of a new account."""
    await session.run(update(users).where(users.c.id == user_id).values(kind=AccountKind.ORGANIZATION.value))


async def lock(session: Session, organization_id: int) -> None:
    """Lock an organization until the transaction ends: its members, teams and grants change one after the other."""
    await session.row(_LOCK, {"organization_id": organization_id})


async def change(session: Session, organization_id: int, values: Mapping[str, Any]) -> None:
    """Set columns of an organization."""
    await session.run(update(users).where(users.c.id == organization_id).values(**_plain(values)))


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, DefaultRole):
            plain[name] = value.number
        else:
            plain[name] = value.value if isinstance(value, Enum) else value
    return plain


async def memberships(session: Session, user_id: int, paging: Paging) -> Page[Membership]:
    """Return a page of the organizations that a user is a member of."""
    parameters = {"user_id": user_id}
    found = await MEMBERSHIPS.slice(session, paging, parameters)
    total = await MEMBERSHIPS.total(session, parameters)
    return page_of(found, tuple(map(_membership, found.rows)), total, paging)


def _membership(row: Row[Any]) -> Membership:
    role = member_word(row.role)
    has_role = bool(row.second_factor or not row.require_second_factor)
    may_create = has_role and bool(role is MemberWord.OWNER or row.members_create)
    return Membership(row.organization, role, row.joined_at, may_create)


async def count_of_user(session: Session, user_id: int) -> int:
    """Return how many organizations a user is a member of."""
    row = await session.row(_COUNT, {"user_id": user_id})
    return int(row[0]) if row else 0


async def solely_owned(session: Session, user_id: int) -> str:
    """Return the name of an organization whose only owner this user is; empty if there is none.

    The user's organizations stay locked until the transaction ends.
    """
    await session.rows(_OWNED_LOCK, {"user_id": user_id})
    row = await session.row(_SOLE, {"user_id": user_id})
    return str(row.name) if row else ""


async def has_linked_accounts(session: Session, user_id: int) -> bool:
    """Return whether a user has linked accounts at forges."""
    return await session.row(_LINKED, {"user_id": user_id}) is not None


async def convert(session: Session, user_id: int) -> None:
    """Turn a user into an organization; its password, sessions, tokens and second factors end."""
    for statement in _CONVERSION:
        await session.run(statement, {"user_id": user_id})
    values = {
        "kind": AccountKind.ORGANIZATION.value,
        "email": placeholder_email(),
        "password_hash": "",
        "admin": False,
        "curator": False,
        "second_factor": False,
        "email_confirmed_at": None,
        "credential_generation": users.c.credential_generation + 1,
    }
    await session.run(update(users).where(users.c.id == user_id).values(values))


def _organization(row: Row[Any]) -> Organization:
    return Organization(
        row.id,
        row.name,
        Visibility(row.default_visibility),
        DefaultRole.of(row.member_role),
        bool(row.members_create),
        bool(row.require_second_factor),
        row.created_at,
    )
