"""Invitations in the database."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, bindparam, delete, func, insert, select, update

from hythe.database import Session
from hythe.database.tables.hub import hub_repositories, namespaces, users
from hythe.database.tables.organizations import invitations, teams
from hythe.hub.page import Page, Paging
from hythe.hub.repositories.collaborator import Invitation
from hythe.hub.roles import OrganizationRole, RepositoryRole
from hythe.hub.sql.sorted_list import SortedList, page_of

DELETED_AT_ONCE = 200

_organizations = users.alias("organizations")
_invited = users.alias("invited")
_inviters = users.alias("inviters")
_ALL = (
    select(
        invitations,
        _organizations.c.name.label("organization"),
        teams.c.name.label("team"),
        (namespaces.c.name + "/" + hub_repositories.c.name).label("repository"),
        _invited.c.name.label("invited"),
        _inviters.c.name.label("inviter"),
    )
    .select_from(invitations)
    .join(_organizations, _organizations.c.id == invitations.c.organization_id, isouter=True)
    .join(teams, teams.c.id == invitations.c.team_id, isouter=True)
    .join(hub_repositories, hub_repositories.c.repository_id == invitations.c.repository_id, isouter=True)
    .join(namespaces, namespaces.c.id == hub_repositories.c.namespace_id, isouter=True)
    .join(_invited, _invited.c.id == invitations.c.user_id, isouter=True)
    .join(_inviters, _inviters.c.id == invitations.c.invited_by, isouter=True)
)

_PENDING = invitations.c.expires_at > bindparam("now", type_=invitations.c.expires_at.type)
_KEY = bindparam("key", type_=invitations.c.id.type)
OF_ORGANIZATION = SortedList(_ALL, invitations.c.id, where=(invitations.c.organization_id == _KEY, _PENDING))
OF_REPOSITORY = SortedList(_ALL, invitations.c.id, where=(invitations.c.repository_id == _KEY, _PENDING))
OF_USER = SortedList(_ALL, invitations.c.id, where=(invitations.c.user_id == _KEY, _PENDING))
_BY_ID = _ALL.where(invitations.c.id == bindparam("invitation_id"), _PENDING)
_BY_DIGEST = _ALL.where(invitations.c.digest == bindparam("digest"), _PENDING)
_EXPIRED = (
    select(invitations.c.id)
    .where(invitations.c.expires_at <= bindparam("before", type_=invitations.c.expires_at.type))
    .order_by(invitations.c.expires_at)
    .limit(DELETED_AT_ONCE)
)
_DELETE_EXPIRED = delete(invitations).where(invitations.c.id.in_(_EXPIRED.scalar_subquery()))
_RECENT = select(func.count()).select_from(
    select(invitations.c.id)
    .where(
        invitations.c.invited_by == bindparam("user_id"),
        invitations.c.created_at > bindparam("after", type_=invitations.c.created_at.type),
    )
    .limit(bindparam("at_most"))
    .subquery()
)


class StoredInvitation(msgspec.Struct, frozen=True):
    """An invitation with the ids of its organization, repository and team."""

    invitation: Invitation
    role: int
    organization_id: int | None
    team_id: int | None
    repository_id: int | None
    user_id: int | None
    namespace: str


async def add(session: Session, values: Mapping[str, Any]) -> int:
    """Add an invitation; return its id."""
    row = await session.row(insert(invitations).values(dict(values)).returning(invitations.c.id))
    if row is None:
        raise LookupError("INSERT .. RETURNING gave no row")
    return int(row.id)


async def by_id(session: Session, invitation_id: int, now: datetime) -> StoredInvitation | None:
    """Return a pending invitation."""
    row = await session.row(_BY_ID, {"invitation_id": invitation_id, "now": now})
    return _stored(row) if row else None


async def by_digest(session: Session, digest: str, now: datetime) -> StoredInvitation | None:
    """Return the pending invitation whose secret has this SHA-256."""
    row = await session.row(_BY_DIGEST, {"digest": digest, "now": now})
    return _stored(row) if row else None


async def end(session: Session, invitation_id: int, now: datetime) -> bool:
    """End a pending invitation; return False if there is none. Its row still counts for the limit of its sender."""
    own = (invitations.c.id == invitation_id, invitations.c.expires_at > now)
    return await session.run(update(invitations).where(*own).values(expires_at=now, digest=None)) > 0


async def end_same(
    session: Session,
    organization_id: int | None,
    repository_id: int | None,
    user_id: int | None,
    email: str | None,
    now: datetime,
) -> None:
    """End earlier invitations of the same user or address to the same organization or repository."""
    to = (
        invitations.c.organization_id == organization_id
        if organization_id is not None
        else invitations.c.repository_id == repository_id
    )
    invited = invitations.c.user_id == user_id if user_id is not None else invitations.c.email == email
    same = (to, invited, invitations.c.expires_at > now)
    await session.run(update(invitations).where(*same).values(expires_at=now, digest=None))


async def remove_expired(session: Session, before: datetime) -> None:
    """Delete some invitations that have expired."""
    await session.run(_DELETE_EXPIRED, {"before": before})


async def count_recent(session: Session, user_id: int, after: datetime, at_most: int) -> int:
    """Return how many invitations a user sent after this time, counted up to ``at_most``."""
    row = await session.row(_RECENT, {"user_id": user_id, "after": after, "at_most": at_most})
    return int(row[0]) if row else 0


async def of_organization(session: Session, organization_id: int, now: datetime, paging: Paging) -> Page[Invitation]:
    """Return a page of the pending invitations to an organization."""
    return await _page(session, OF_ORGANIZATION, organization_id, now, paging)


async def of_repository(session: Session, repository_id: int, now: datetime, paging: Paging) -> Page[Invitation]:
    """Return a page of the pending invitations to a repository."""
    return await _page(session, OF_REPOSITORY, repository_id, now, paging)


async def of_user(session: Session, user_id: int, now: datetime, paging: Paging) -> Page[Invitation]:
    """Return a page of the invitations that a user can accept."""
    return await _page(session, OF_USER, user_id, now, paging)


async def _page(session: Session, of: SortedList, key: int, now: datetime, paging: Paging) -> Page[Invitation]:
    found = await of.slice(session, paging, {"key": key, "now": now})
    total = await of.total(session, {"key": key, "now": now})
    return page_of(found, tuple(_stored(row).invitation for row in found.rows), total, paging)


def _stored(row: Row[Any]) -> StoredInvitation:
    role = OrganizationRole(row.role).word if row.organization_id is not None else RepositoryRole(row.role).word
    invitation = Invitation(
        row.id,
        role,
        row.created_at,
        row.expires_at,
        row.inviter or "",
        row.organization or "",
        row.team or "",
        row.repository or "",
        row.invited or "",
        row.email or "",
    )
    namespace = row.organization or (row.repository or "").partition("/")[0]
    return StoredInvitation(
        invitation, row.role, row.organization_id, row.team_id, row.repository_id, row.user_id, namespace
    )
