"""Namespaces in the database."""

from sqlalchemy import bindparam, insert, select

from hythe.database import Session
from hythe.database.tables.hub import namespaces, users
from hythe.hub.namespaces import AccountKind, Namespace, NamespaceKind

_BY_NAME = (
    select(
        namespaces.c.id,
        namespaces.c.name,
        namespaces.c.kind,
        namespaces.c.user_id,
        users.c.kind.label("account_kind"),
    )
    .join_from(namespaces, users, users.c.id == namespaces.c.user_id, isouter=True)
    .where(namespaces.c.name == bindparam("name"))
)


async def add_for_user(session: Session, name: str, user_id: int) -> None:
    """Add the namespace of a user or an organization. Raises IntegrityError if the name is taken."""
    await session.run(insert(namespaces).values(name=name, kind=NamespaceKind.USER.value, user_id=user_id))


async def by_name(session: Session, name: str) -> Namespace | None:
    """Return the namespace with this name."""
    row = await session.row(_BY_NAME, {"name": name})
    return Namespace(row.id, row.name, kind_of(row.kind, row.account_kind), row.user_id) if row else None


def kind_of(kind: str, account_kind: str | None) -> NamespaceKind:
    """Return the kind of a namespace that belongs to an account of this kind (None: to none)."""
    return NamespaceKind.ORGANIZATION if account_kind == AccountKind.ORGANIZATION.value else NamespaceKind(kind)
