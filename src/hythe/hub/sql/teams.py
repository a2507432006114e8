"""Teams, their members and grants in the database. ``sql.team_repositories`` applies the grants."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, delete, func, insert, select, update

from hythe.database import Session
from hythe.database.port import insert as upsert
from hythe.database.tables.hub import hub_repositories, users
from hythe.database.tables.organizations import team_grants, team_members, teams
from hythe.hub.organizations.organization import role_word
from hythe.hub.organizations.team import Team, TeamGrant, TeamMember
from hythe.hub.page import Page, Paging
from hythe.hub.roles import RepositoryRole
from hythe.hub.sql.sorted_list import SortedList, page_of

FIRST_NAME = "0"
"""Names of teams begin with a letter or digit; those of teams that are being deleted sort before them."""

_IN = teams.c.organization_id == bindparam("organization_id")
_ALIVE = teams.c.name >= bindparam("first_name", FIRST_NAME, type_=teams.c.name.type)
TEAMS = SortedList(select(teams), teams.c.name, where=(_IN, _ALIVE))
_BY_NAME = select(teams).where(_IN, teams.c.name == bindparam("name"))
_OF_USER = (
    select(teams)
    .join(team_members, team_members.c.team_id == teams.c.id)
    .where(team_members.c.user_id == bindparam("user_id"), _IN)
)
_COUNT = select(func.count()).select_from(select(teams.c.id).where(_IN).limit(bindparam("at_most")).subquery())
MEMBERS = SortedList(
    select(team_members, users.c.name).join_from(team_members, users),
    team_members.c.user_id,
    where=(team_members.c.team_id == bindparam("team_id"),),
)
GRANTS = SortedList(
    select(team_grants, hub_repositories.c.name).join_from(team_grants, hub_repositories, isouter=True),
    team_grants.c.id,
    where=(team_grants.c.team_id == bindparam("team_id"),),
)
_COUNT_GRANTS = select(func.count()).select_from(
    select(team_grants.c.id).where(team_grants.c.team_id == bindparam("team_id")).limit(bindparam("at_most")).subquery()
)
_COUNT_PATTERNS = select(func.count()).select_from(
    select(team_grants.c.id)
    .where(team_grants.c.team_id == bindparam("team_id"), team_grants.c.pattern.is_not(None))
    .limit(bindparam("at_most"))
    .subquery()
)
_EMPTY = tuple(delete(table).where(table.c.team_id == bindparam("team_id")) for table in (team_members, team_grants))


async def add(session: Session, organization_id: int, name: str, description: str, at: datetime) -> int:
    """Add a team; return its id. Raises IntegrityError if the name is taken."""
    values = {"organization_id": organization_id, "name": name, "description": description, "created_at": at}
    row = await session.row(insert(teams).values(values).returning(teams.c.id))
    if row is None:
        raise LookupError("INSERT .. RETURNING gave no row")
    return int(row.id)


async def by_name(session: Session, organization_id: int, name: str) -> Team | None:
    """Return the team with this name."""
    row = await session.row(_BY_NAME, {"organization_id": organization_id, "name": name})
    return _team(row) if row else None


async def of_user(session: Session, organization_id: int, user_id: int) -> list[Team]:
    """Return the teams of an organization that a user is in."""
    rows = await session.rows(_OF_USER, {"organization_id": organization_id, "user_id": user_id})
    return sorted(map(_team, rows), key=lambda team: team.name)


async def count(session: Session, organization_id: int, at_most: int) -> int:
    """Return the number of teams, counted up to ``at_most``."""
    row = await session.row(_COUNT, {"organization_id": organization_id, "at_most": at_most})
    return int(row[0]) if row else 0


async def listed(session: Session, organization_id: int, paging: Paging) -> Page[Team]:
    """Return a page of an organization's teams, by name."""
    parameters = {"organization_id": organization_id, "first_name": FIRST_NAME}
    found = await TEAMS.slice(session, paging, parameters)
    total = await TEAMS.total(session, parameters)
    return page_of(found, tuple(map(_team, found.rows)), total, paging)


async def change(session: Session, team_id: int, values: Mapping[str, Any]) -> None:
    """Set columns of a team. Raises IntegrityError if the name is taken."""
    await session.run(update(teams).where(teams.c.id == team_id).values(values))


async def empty(session: Session, team_id: int) -> None:
    """Remove all members and grants of a team that is being deleted, and free its name."""
    for statement in _EMPTY:
        await session.run(statement, {"team_id": team_id})
    await change(session, team_id, {"name": f"-{team_id}", "applied_to": ""})


async def add_member(session: Session, team_id: int, user_id: int, at: datetime) -> bool:
    """Add a member to a team; return False if they are in it."""
    values = {"team_id": team_id, "user_id": user_id, "added_at": at}
    statement = upsert(session, team_members).values(values).on_conflict_do_nothing()
    return await session.run(statement) > 0


async def remove_member(session: Session, team_id: int, user_id: int) -> bool:
    """Remove a member from a team; return False if they were not in it."""
    own = (team_members.c.team_id == team_id, team_members.c.user_id == user_id)
    return await session.run(delete(team_members).where(*own)) > 0


async def members(session: Session, team_id: int, paging: Paging) -> Page[TeamMember]:
    """Return a page of a team's members."""
    parameters = {"team_id": team_id}
    found = await MEMBERS.slice(session, paging, parameters)
    total = await MEMBERS.total(session, parameters)
    items = tuple(TeamMember(row.user_id, row.name, row.added_at) for row in found.rows)
    return page_of(found, items, total, paging)


async def grants(session: Session, team_id: int, paging: Paging) -> Page[TeamGrant]:
    """Return a page of a team's grants, oldest first."""
    parameters = {"team_id": team_id}
    found = await GRANTS.slice(session, paging, parameters)
    total = await GRANTS.total(session, parameters)
    return page_of(found, tuple(map(_grant, found.rows)), total, paging)


async def count_grants(session: Session, team_id: int, at_most: int) -> int:
    """Return the number of a team's grants, counted up to ``at_most``."""
    row = await session.row(_COUNT_GRANTS, {"team_id": team_id, "at_most": at_most})
    return int(row[0]) if row else 0


async def count_patterns(session: Session, team_id: int, at_most: int) -> int:
    """Return the number of a team's grants on patterns, counted up to ``at_most``."""
    row = await session.row(_COUNT_PATTERNS, {"team_id": team_id, "at_most": at_most})
    return int(row[0]) if row else 0


async def grant_repository(session: Session, team_id: int, repository_id: int, role: RepositoryRole) -> None:
    """Give a team a role on a repository, instead of the one that it gave before."""
    statement = upsert(session, team_grants).values(team_id=team_id, repository_id=repository_id, role=role.value)
    await session.run(
        statement.on_conflict_do_update(index_elements=["team_id", "repository_id"], set_={"role": role.value})
    )


async def grant_pattern(session: Session, team_id: int, pattern: str, like_pattern: str, role: RepositoryRole) -> None:
    """Give a team a role on the repositories that match, instead of the one that this pattern gave before."""
    statement = upsert(session, team_grants).values(
        team_id=team_id, pattern=pattern, like_pattern=like_pattern, role=role.value
    )
    await session.run(statement.on_conflict_do_update(index_elements=["team_id", "pattern"], set_={"role": role.value}))


async def revoke_repository(session: Session, team_id: int, repository_id: int) -> bool:
    """Delete a team's grant on a repository; return False if there is none."""
    own = (team_grants.c.team_id == team_id, team_grants.c.repository_id == repository_id)
    return await session.run(delete(team_grants).where(*own)) > 0


async def revoke_pattern(session: Session, team_id: int, pattern: str) -> bool:
    """Delete a team's grant on a pattern; return False if there is none."""
    own = (team_grants.c.team_id == team_id, team_grants.c.pattern == pattern)
    return await session.run(delete(team_grants).where(*own)) > 0


def _team(row: Row[Any]) -> Team:
    applying = row.applied_to is not None
    return Team(row.id, row.organization_id, row.name, row.description, row.created_at, applying)


def _grant(row: Row[Any]) -> TeamGrant:
    return TeamGrant(row.id, role_word(row.role), row.name or "", row.pattern or "")
