"""What the grants of teams mean for each existing repository: the rows that access decisions read.

A repository that appears or changes its name gets its rows in the same transaction. A changed pattern is applied to
the organization's repositories step by step, in the order of their names, however many there are.
"""

from typing import Any

from sqlalchemy import BindParameter, and_, bindparam, delete, func, insert, literal, or_, select, update

from hythe.database import Session
from hythe.database.tables.hub import hub_repositories, namespaces
from hythe.database.tables.organizations import collaborators, invitations, team_grants, team_repositories, teams

STEP = 500
"""Repositories of one step."""

_MATCHES = or_(
    team_grants.c.repository_id == hub_repositories.c.repository_id,
    hub_repositories.c.name.like(team_grants.c.like_pattern, escape="\\"),
)
_GRANTED = (
    select(teams.c.id, hub_repositories.c.repository_id, func.max(team_grants.c.role))
    .select_from(hub_repositories)
    .join(namespaces, namespaces.c.id == hub_repositories.c.namespace_id)
    .join(teams, teams.c.organization_id == namespaces.c.user_id)
    .join(team_grants, and_(team_grants.c.team_id == teams.c.id, _MATCHES))
    .group_by(teams.c.id, hub_repositories.c.repository_id)
)
_NAMES = ("team_id", "repository_id", "role")
_OF_REPOSITORY = hub_repositories.c.repository_id == bindparam("repository_id")
_FORGET = delete(team_repositories).where(team_repositories.c.repository_id == bindparam("repository_id"))
_APPLY_TO_NEW = insert(team_repositories).from_select(_NAMES, _GRANTED.where(_OF_REPOSITORY))
_FORGET_ONE = delete(team_repositories).where(
    team_repositories.c.team_id == bindparam("team_id"),
    team_repositories.c.repository_id == bindparam("repository_id"),
)
_APPLY_ONE = insert(team_repositories).from_select(
    _NAMES, _GRANTED.where(_OF_REPOSITORY, teams.c.id == bindparam("team_id"))
)

_UNAPPLIED = select(teams.c.id).where(teams.c.applied_to.is_not(None)).order_by(teams.c.id).limit(100)
_STATE = (
    select(teams.c.applied_to, teams.c.name, namespaces.c.id.label("namespace_id"))
    .join(namespaces, namespaces.c.user_id == teams.c.organization_id)
    .where(teams.c.id == bindparam("team_id"), teams.c.applied_to.is_not(None))
    .with_for_update(of=teams)
)
_NEXT = (
    select(hub_repositories.c.repository_id, hub_repositories.c.name)
    .where(
        hub_repositories.c.namespace_id == bindparam("namespace_id"), hub_repositories.c.name > bindparam("applied_to")
    )
    .order_by(hub_repositories.c.name)
    .limit(literal(STEP))
)
_IDS: BindParameter[Any] = bindparam("ids", expanding=True)
_FORGET_SOME = delete(team_repositories).where(
    team_repositories.c.team_id == bindparam("team_id"), team_repositories.c.repository_id.in_(_IDS)
)
_APPLY_SOME = insert(team_repositories).from_select(
    _NAMES, _GRANTED.where(hub_repositories.c.repository_id.in_(_IDS), teams.c.id == bindparam("team_id"))
)
_GRANTS_OF_OTHERS = delete(team_grants).where(
    team_grants.c.repository_id == bindparam("repository_id"),
    team_grants.c.team_id.not_in(
        select(teams.c.id)
        .join(namespaces, namespaces.c.user_id == teams.c.organization_id)
        .join(hub_repositories, hub_repositories.c.namespace_id == namespaces.c.id)
        .where(_OF_REPOSITORY)
        .scalar_subquery()
    ),
)


async def apply_to_new(session: Session, repository_id: int) -> None:
    """Give the teams of its organization their roles on a new repository. The organization's row must be locked."""
    await session.run(_APPLY_TO_NEW, {"repository_id": repository_id})


async def apply_to_changed(session: Session, repository_id: int) -> None:
    """Do the same for a repository with another name or owner. Grants of another organization's teams end."""
    await session.run(_GRANTS_OF_OTHERS, {"repository_id": repository_id})
    await session.run(_FORGET, {"repository_id": repository_id})
    await session.run(_APPLY_TO_NEW, {"repository_id": repository_id})


async def forget_people(session: Session, repository_id: int) -> None:
    """Remove the collaborators and invitations of a repository that moves to another owner."""
    for table in (collaborators, invitations):
        await session.run(delete(table).where(table.c.repository_id == repository_id))


async def apply_one(session: Session, team_id: int, repository_id: int) -> None:
    """Apply a team's changed grants to one repository."""
    parameters = {"team_id": team_id, "repository_id": repository_id}
    await session.run(_FORGET_ONE, parameters)
    await session.run(_APPLY_ONE, parameters)


async def unapplied(session: Session) -> tuple[int, ...]:
    """Return the ids of some teams whose changed patterns are not applied to all repositories yet."""
    return tuple(row.id for row in await session.rows(_UNAPPLIED))


async def begin(session: Session, team_id: int) -> None:
    """Note that a team's patterns changed: ``step`` applies them."""
    await session.run(update(teams).where(teams.c.id == team_id).values(applied_to=""))


async def step(session: Session, team_id: int) -> bool:
    """Apply a team's grants to the next repositories; return whether there may be more."""
    state = await session.row(_STATE, {"team_id": team_id})
    if state is None:
        return False
    found = await session.rows(_NEXT, {"namespace_id": state.namespace_id, "applied_to": state.applied_to})
    if found:
        parameters = {"team_id": team_id, "ids": [row.repository_id for row in found]}
        await session.run(_FORGET_SOME, parameters)
        await session.run(_APPLY_SOME, parameters)
        await session.run(update(teams).where(teams.c.id == team_id).values(applied_to=found[-1].name))
        return True
    if state.name.startswith("-"):
        await session.run(delete(teams).where(teams.c.id == team_id))
    else:
        await session.run(update(teams).where(teams.c.id == team_id).values(applied_to=None))
    return False
