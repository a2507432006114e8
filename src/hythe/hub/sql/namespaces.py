"""Namespaces in the database."""

from sqlalchemy import bindparam, insert, literal, select
from sqlalchemy.exc import IntegrityError

from hythe.database import Session
from hythe.database.tables.hub import namespaces, users
from hythe.database.tables.names import former_namespaces
from hythe.hub.accounts.namespaces import AccountKind, Namespace, NamespaceKind

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


_IS_FORMER = select(former_namespaces.c.name).where(former_namespaces.c.name == bindparam("name")).exists()
_USED = (
    select(namespaces.c.name)
    .where(namespaces.c.name == bindparam("name"))
    .union_all(select(former_namespaces.c.name).where(former_namespaces.c.name == bindparam("name")))
)


async def add_for_user(session: Session, name: str, user_id: int) -> None:
    """Add the namespace of a user or an organization, whose row was added before.

    Raises IntegrityError if the name is taken, also as the former name of another one.
    """
    columns = ["name", "kind", "user_id"]
    values = select(*(literal(value, namespaces.c[column].type) for column, value in _values(name, user_id)))
    statement = insert(namespaces).from_select(columns, values.where(~_IS_FORMER))
    if not await session.run(statement, {"name": name}):
        raise IntegrityError("the name redirects to an account that had it", None, LookupError(name))


def _values(name: str, user_id: int) -> tuple[tuple[str, object], ...]:
    return ("name", name), ("kind", NamespaceKind.USER.value), ("user_id", user_id)


async def is_used(session: Session, name: str) -> bool:
    """Return whether a namespace has or had this name."""
    return await session.row(_USED, {"name": name}) is not None


async def by_name(session: Session, name: str) -> Namespace | None:
    """Return the namespace with this name."""
    row = await session.row(_BY_NAME, {"name": name})
    return Namespace(row.id, row.name, kind_of(row.kind, row.account_kind), row.user_id) if row else None


def kind_of(kind: str, account_kind: str | None) -> NamespaceKind:
    """Return the kind of a namespace that belongs to an account of this kind (None: to none)."""
    return NamespaceKind.ORGANIZATION if account_kind == AccountKind.ORGANIZATION.value else NamespaceKind(kind)
