"""Collaborators on repositories in the database."""

from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, delete, select, update

from hythe.database import Session
from hythe.database.port import insert as upsert
from hythe.database.tables.hub import users
from hythe.database.tables.organizations import collaborators
from hythe.hub.organizations.organization import role_word
from hythe.hub.page import Page, Paging
from hythe.hub.repositories.collaborator import Collaborator
from hythe.hub.roles import RepositoryRole
from hythe.hub.sql.sorted_list import SortedList, page_of

_ALL = select(collaborators, users.c.name).join_from(collaborators, users)
COLLABORATORS = SortedList(
    _ALL, collaborators.c.user_id, where=(collaborators.c.repository_id == bindparam("repository_id"),)
)
_ONE = _ALL.where(
    collaborators.c.repository_id == bindparam("repository_id"), collaborators.c.user_id == bindparam("user_id")
)


async def put(session: Session, repository_id: int, user_id: int, role: RepositoryRole, at: datetime) -> None:
    """Give a user a role on a repository, instead of the one that they have."""
    values = {"repository_id": repository_id, "user_id": user_id, "role": role.value, "added_at": at}
    statement = upsert(session, collaborators).values(values)
    await session.run(
        statement.on_conflict_do_update(index_elements=["repository_id", "user_id"], set_={"role": role.value})
    )


async def find(session: Session, repository_id: int, user_id: int) -> Collaborator | None:
    """Return a collaborator."""
    row = await session.row(_ONE, {"repository_id": repository_id, "user_id": user_id})
    return _collaborator(row) if row else None


async def set_role(session: Session, repository_id: int, user_id: int, role: RepositoryRole) -> None:
    """Set the role of a collaborator."""
    own = (collaborators.c.repository_id == repository_id, collaborators.c.user_id == user_id)
    await session.run(update(collaborators).where(*own).values(role=role.value))


async def remove(session: Session, repository_id: int, user_id: int) -> bool:
    """Remove a collaborator; return False if the user is none."""
    own = (collaborators.c.repository_id == repository_id, collaborators.c.user_id == user_id)
    return await session.run(delete(collaborators).where(*own)) > 0


async def listed(session: Session, repository_id: int, paging: Paging) -> Page[Collaborator]:
    """Return a page of a repository's collaborators."""
    parameters = {"repository_id": repository_id}
    found = await COLLABORATORS.slice(session, paging, parameters)
    total = await COLLABORATORS.total(session, parameters)
    return page_of(found, tuple(map(_collaborator, found.rows)), total, paging)


def _collaborator(row: Row[Any]) -> Collaborator:
    return Collaborator(row.name, role_word(row.role), row.added_at)
