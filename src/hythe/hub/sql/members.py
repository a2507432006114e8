"""Members of organizations in the database."""

from datetime import datetime
from typing import Any

from sqlalchemy import Row, and_, bindparam, delete, func, insert, select, update

from hythe.database import Session
from hythe.database.tables.builds import build_configurations
from hythe.database.tables.forges import forge_webhooks, linked_accounts
from hythe.database.tables.hub import hub_repositories, namespaces, users
from hythe.database.tables.organizations import collaborators, organization_members, team_members, teams
from hythe.hub.organizations.organization import Member, member_word
from hythe.hub.page import Page, Paging
from hythe.hub.roles import OrganizationRole
from hythe.hub.sql.sorted_list import SortedList, page_of

_ORGANIZATION = organization_members.c.organization_id == bindparam("organization_id")
_USER = organization_members.c.user_id == bindparam("user_id")
_MEMBERSHIP = select(organization_members.c.role).where(_ORGANIZATION, _USER)
_ALL = select(
    organization_members.c.organization_id,
    organization_members.c.user_id,
    organization_members.c.role,
    organization_members.c.joined_at,
    users.c.name,
    users.c.second_factor,
).join_from(organization_members, users, users.c.id == organization_members.c.user_id)
MEMBERS = SortedList(_ALL, organization_members.c.user_id, where=(_ORGANIZATION,))
_BY_NAME = _ALL.where(_ORGANIZATION, users.c.name == bindparam("name"))
_OWNERS = (
    select(organization_members.c.user_id)
    .where(_ORGANIZATION, organization_members.c.role == OrganizationRole.OWNER.value)
    .limit(2)
)
_COUNT = select(func.count()).select_from(
    select(organization_members.c.user_id).where(_ORGANIZATION).limit(bindparam("at_most")).subquery()
)
_OWN_GRANTS = (
    select(collaborators.c.repository_id)
    .join(hub_repositories, hub_repositories.c.repository_id == collaborators.c.repository_id)
    .join(namespaces, namespaces.c.id == hub_repositories.c.namespace_id)
    .where(collaborators.c.user_id == bindparam("user_id"), namespaces.c.user_id == bindparam("organization_id"))
)
_OWN_TEAMS = (
    select(team_members.c.team_id)
    .join(teams, teams.c.id == team_members.c.team_id)
    .where(team_members.c.user_id == bindparam("user_id"), teams.c.organization_id == bindparam("organization_id"))
)
_OWN_LINKS = (
    select(build_configurations.c.id)
    .join(linked_accounts, linked_accounts.c.id == build_configurations.c.linked_account_id)
    .join(hub_repositories, hub_repositories.c.repository_id == build_configurations.c.repository_id)
    .join(namespaces, namespaces.c.id == hub_repositories.c.namespace_id)
    .where(linked_accounts.c.user_id == bindparam("user_id"), namespaces.c.user_id == bindparam("organization_id"))
)
_WEBHOOK_OF_ORGANIZATION = (
    select(build_configurations.c.id)
    .join(hub_repositories, hub_repositories.c.repository_id == build_configurations.c.repository_id)
    .join(namespaces, namespaces.c.id == hub_repositories.c.namespace_id)
    .where(
        build_configurations.c.id == forge_webhooks.c.configuration_id,
        namespaces.c.user_id == bindparam("organization_id"),
    )
    .exists()
)
_LINKED = select(linked_accounts.c.id).where(linked_accounts.c.user_id == bindparam("user_id"))
_LEFT = "the member whose linked account was used left the organization: choose another source account"
_LEAVE = (
    delete(team_members).where(
        team_members.c.user_id == bindparam("user_id"), team_members.c.team_id.in_(_OWN_TEAMS.scalar_subquery())
    ),
    delete(collaborators).where(
        collaborators.c.user_id == bindparam("user_id"),
        collaborators.c.repository_id.in_(_OWN_GRANTS.scalar_subquery()),
    ),
    update(build_configurations)
    .where(build_configurations.c.id.in_(_OWN_LINKS.scalar_subquery()))
    .values(linked_account_id=None),
    update(forge_webhooks)
    .where(forge_webhooks.c.linked_account_id.in_(_LINKED.scalar_subquery()), _WEBHOOK_OF_ORGANIZATION)
    .values(linked_account_id=None, problem=_LEFT),
    delete(organization_members).where(and_(_ORGANIZATION, _USER)),
)


async def add(session: Session, organization_id: int, user_id: int, role: OrganizationRole, at: datetime) -> None:
    """Add a member. Raises IntegrityError if the user is one."""
    values = {"organization_id": organization_id, "user_id": user_id, "role": role.value, "joined_at": at}
    await session.run(insert(organization_members).values(values))


async def by_name(session: Session, organization_id: int, name: str) -> Member | None:
    """Return the member with this name."""
    row = await session.row(_BY_NAME, {"organization_id": organization_id, "name": name})
    return _member(row) if row else None


async def is_member(session: Session, organization_id: int, user_id: int) -> bool:
    """Return whether a user is a member of an organization."""
    return await session.row(_MEMBERSHIP, {"organization_id": organization_id, "user_id": user_id}) is not None


async def is_last_owner(session: Session, organization_id: int, user_id: int) -> bool:
    """Return whether the organization has no other owner; lock it before."""
    rows = await session.rows(_OWNERS, {"organization_id": organization_id})
    return [row.user_id for row in rows] == [user_id]


async def set_role(session: Session, organization_id: int, user_id: int, role: OrganizationRole) -> None:
    """Set the role of a member."""
    own = (organization_members.c.organization_id == organization_id, organization_members.c.user_id == user_id)
    await session.run(update(organization_members).where(*own).values(role=role.value))


async def remove(session: Session, organization_id: int, user_id: int) -> None:
    """Remove a member from the organization, its teams and repositories, and their linked accounts from its builds."""
    for statement in _LEAVE:
        await session.run(statement, {"organization_id": organization_id, "user_id": user_id})


async def count(session: Session, organization_id: int, at_most: int) -> int:
    """Return the number of members, counted up to ``at_most``."""
    row = await session.row(_COUNT, {"organization_id": organization_id, "at_most": at_most})
    return int(row[0]) if row else 0


async def listed(session: Session, organization_id: int, paging: Paging) -> Page[Member]:
    """Return a page of the members, in the order in which their accounts were created."""
    parameters = {"organization_id": organization_id}
    found = await MEMBERS.slice(session, paging, parameters)
    total = await MEMBERS.total(session, parameters)
    return page_of(found, tuple(map(_member, found.rows)), total, paging)


def _member(row: Row[Any]) -> Member:
    return Member(row.user_id, row.name, member_word(row.role), row.joined_at, bool(row.second_factor))
