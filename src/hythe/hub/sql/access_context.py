"""Reads everything that an access decision needs in one query."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, bindparam, literal_column, or_, select

from hythe.database import Session
from hythe.database.tables.builds import build_configurations
from hythe.database.tables.hub import hub_repositories, namespaces, personal_tokens, users
from hythe.hub.access_context import AccessContext, CredentialState
from hythe.hub.actor import HubActor, Right
from hythe.hub.namespaces import NamespaceKind
from hythe.hub.user import Visibility
from hythe.registry.access import UNLIMITED, Limits

_one = select(1).subquery("one")
_owners = users.alias("owners")

_CONTEXT = (
    select(
        namespaces.c.kind,
        namespaces.c.id,
        namespaces.c.user_id,
        hub_repositories.c.repository_id,
        hub_repositories.c.visibility,
        users.c.id,
        users.c.admin,
        select(1)
        .where(build_configurations.c.repository_id == hub_repositories.c.repository_id)
        .exists()
        .label("built"),
        users.c.name.label("user_name"),
        users.c.blocked_at,
        users.c.credential_generation,
        personal_tokens.c.rights,
        personal_tokens.c.expires_at,
        _owners.c.deleted_at.label("owner_deleted_at"),
        _owners.c.blocked_at.label("owner_blocked_at"),
        _owners.c.admin.label("owner_admin"),
        _owners.c.storage_limit,
        _owners.c.upload_limit,
    )
    .select_from(_one)
    .join(namespaces, namespaces.c.name == bindparam("namespace"), isouter=True)
    .join(
        hub_repositories,
        and_(hub_repositories.c.namespace_id == namespaces.c.id, hub_repositories.c.name == bindparam("name")),
        isouter=True,
    )
    .join(users, users.c.id == bindparam("user_id"), isouter=True)
    .join(
        personal_tokens,
        and_(personal_tokens.c.digest == bindparam("personal_token"), personal_tokens.c.user_id == users.c.id),
        isouter=True,
    )
    .join(_owners, _owners.c.id == namespaces.c.user_id, isouter=True)
)

_OWN_NAMESPACES = select(namespaces.c.id).where(namespaces.c.user_id == bindparam("user_id")).order_by(namespaces.c.id)
_ADMIN = select(users.c.admin).where(users.c.id == bindparam("user_id"))

PUBLIC: ColumnElement[bool] = hub_repositories.c.visibility == literal_column(f"'{Visibility.PUBLIC.value}'")
PRIVATE: ColumnElement[bool] = hub_repositories.c.visibility == literal_column(f"'{Visibility.PRIVATE.value}'")
"""Who may see a repository; literals, because the condition of an index cannot match a parameter."""

ANONYMOUS_ID = -1
"""The user id of anonymous clients in queries; no row has it."""


async def access_context(session: Session, actor: HubActor, namespace: str, name: str) -> AccessContext:
    """Return the access context of the actor and NAMESPACE/NAME."""
    parameters = {
        "namespace": namespace,
        "name": name,
        "user_id": ANONYMOUS_ID if actor.user_id is None else actor.user_id,
        "personal_token": actor.personal_token_digest,
    }
    row = await session.row(_CONTEXT, parameters)
    if row is None:
        raise LookupError("the query returned no row")
    return _context_of(row, namespace)


def _context_of(row: Row[Any], namespace: str) -> AccessContext:
    kind, namespace_id, owner_id, repository_id, visibility, user_id, admin, built, *more = tuple(row)
    user_name, blocked_at, generation, rights, expires_at, owner_deleted_at, owner_blocked_at, unlimited, *limits = more
    if owner_deleted_at is not None:
        # Its repositories are being deleted one after the other; until then they look as if they did not exist.
        kind = namespace_id = owner_id = repository_id = visibility = built = None
    return AccessContext(
        NamespaceKind(kind) if kind is not None else None,
        namespace_id,
        owner_id,
        repository_id,
        Visibility(visibility) if visibility is not None else None,
        user_id,
        bool(admin),
        bool(built),
        UNLIMITED if unlimited or limits == [None, None] else Limits(namespace, *limits),
        owner_blocked_at is not None,
        CredentialState(user_name, blocked_at is not None, generation, _rights(rights), expires_at)
        if user_id is not None
        else None,
    )


def _rights(text: str | None) -> frozenset[Right] | None:
    return frozenset(Right(word) for word in text.split()) if text is not None else None


async def is_admin(session: Session, user_id: int) -> bool:
    """Return whether the account is an administrator."""
    row = await session.row(_ADMIN, {"user_id": user_id})
    return row is not None and bool(row.admin)


def seen_by(statement: Select[Any], user_id: int | None) -> Select[Any]:
    """Restrict a query over repositories joined with namespaces to those that the account may read."""
    if user_id is None:
        return statement.where(PUBLIC)
    return statement.where(or_(PUBLIC, namespaces.c.user_id == user_id))


async def audiences(session: Session, user_id: int | None) -> tuple[str, ...]:
    """Return the audiences of catalog entries and search documents for an account; None: for everyone."""
    own = await session.rows(_OWN_NAMESPACES, {"user_id": user_id}) if user_id is not None else ()
    return (Visibility.PUBLIC.value, *(audience(Visibility.PRIVATE, row.id) for row in own))


def audience(visibility: Visibility, namespace_id: int) -> str:
    """Return the audience of a repository. The triggers of migration 0013 use the same texts."""
    return visibility.value if visibility is Visibility.PUBLIC else f"namespace {namespace_id}"


async def visible(
    session: Session, user_id: int | None, repositories: Collection[str], *, everything: bool
) -> frozenset[str]:
    """Return which of the canonical names are repositories that the account may read."""
    statement = select((namespaces.c.name + "/" + hub_repositories.c.name).label("full")).join_from(
        hub_repositories, namespaces
    )
    pairs = [name.split("/", 1) for name in repositories]
    # Not as pairs: SQLite searches the whole table for a list of those.
    query = statement.where(
        namespaces.c.name.in_(sorted({namespace for namespace, _ in pairs})),
        hub_repositories.c.name.in_(sorted({name for _, name in pairs})),
    )
    rows = await session.rows(query if everything else seen_by(query, user_id))
    return frozenset(row.full for row in rows).intersection(repositories)
