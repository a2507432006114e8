"""Namespaces in the database."""

from sqlalchemy import bindparam, insert, select

from hythe.database import Session
from hythe.database.tables.hub import namespaces
from hythe.hub.namespaces import Namespace, NamespaceKind

_BY_NAME = select(namespaces.c.id, namespaces.c.name, namespaces.c.kind, namespaces.c.user_id).where(
    namespaces.c.name == bindparam("name")
)


async def add_for_user(session: Session, name: str, user_id: int) -> None:
    """Add an account's namespace. Raises IntegrityError if the name is taken."""
    await session.run(insert(namespaces).values(name=name, kind=NamespaceKind.USER.value, user_id=user_id))


async def by_name(session: Session, name: str) -> Namespace | None:
    """Return the namespace with this name."""
    row = await session.row(_BY_NAME, {"name": name})
    return Namespace(row.id, row.name, NamespaceKind(row.kind), row.user_id) if row else None
