"""Reads everything that an access decision needs in one query."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Row,
    Select,
    and_,
    bindparam,
    false,
    func,
    literal,
    literal_column,
    or_,
    select,
    union_all,
)

from hythe.database import Session
from hythe.database.tables.administration import administrator_access
from hythe.database.tables.builds import build_configurations
from hythe.database.tables.hub import hub_repositories, namespaces, personal_tokens, users
from hythe.database.tables.organizations import (
    collaborators,
    organization_members,
    team_grants,
    team_members,
    team_repositories,
    teams,
)
from hythe.hub.access.access_context import AccessContext, CredentialState, Reader
from hythe.hub.accounts.user import Visibility
from hythe.hub.actor import HubActor
from hythe.hub.roles import OrganizationRole, RepositoryRole
from hythe.hub.sql.namespaces import kind_of
from hythe.hub.sql.token_limits import LIMIT_COLUMNS, limits_of
from hythe.registry.access import UNLIMITED, Limits

_one = select(1).subquery("one")
_owners = users.alias("owners")
_accounts = users.alias("accounts")
_homes = namespaces.alias("homes")

_BY_TEAM = (
    select(func.max(team_repositories.c.role))
    .join(team_members, team_members.c.team_id == team_repositories.c.team_id)
    .where(
        team_repositories.c.repository_id == hub_repositories.c.repository_id,
        team_members.c.user_id == users.c.id,
    )
)
# Of a repository that does not exist yet.
_BY_PATTERN = (
    select(func.max(team_grants.c.role))
    .join(teams, teams.c.id == team_grants.c.team_id)
    .join(team_members, team_members.c.team_id == teams.c.id)
    .where(
        hub_repositories.c.repository_id.is_(None),
        team_members.c.user_id == users.c.id,
        teams.c.organization_id == namespaces.c.user_id,
        bindparam("name", type_=hub_repositories.c.name.type).like(team_grants.c.like_pattern, escape="\\"),
    )
)

_CONTEXT = (
    select(
        namespaces.c.kind,
        namespaces.c.id.label("namespace_id"),
        namespaces.c.user_id.label("owner_id"),
        hub_repositories.c.repository_id,
        hub_repositories.c.visibility,
        users.c.id.label("user_id"),
        users.c.admin,
        select(1)
        .where(build_configurations.c.repository_id == hub_repositories.c.repository_id)
        .exists()
        .label("built"),
        users.c.name.label("user_name"),
        users.c.blocked_at,
        users.c.credential_generation,
        *LIMIT_COLUMNS,
        personal_tokens.c.digest.label("token_digest"),
        personal_tokens.c.expires_at,
        personal_tokens.c.previous_expires_at,
        _owners.c.kind.label("owner_kind"),
        _owners.c.member_role,
        _owners.c.members_create,
        organization_members.c.role.label("member"),
        users.c.curator,
        users.c.second_factor,
        users.c.email_confirmed_at,
        _owners.c.require_second_factor,
        collaborators.c.role.label("collaborator_role"),
        _BY_TEAM.scalar_subquery().label("team_role"),
        _BY_PATTERN.scalar_subquery().label("pattern_role"),
        _owners.c.deleted_at.label("owner_deleted_at"),
        _owners.c.blocked_at.label("owner_blocked_at"),
        _owners.c.admin.label("owner_admin"),
        _owners.c.storage_limit,
        _owners.c.upload_limit,
        hub_repositories.c.taken_down_at,
        hub_repositories.c.taken_down_reason,
        administrator_access.c.until.label("opened_until"),
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
        and_(
            or_(
                personal_tokens.c.digest == bindparam("personal_token"),
                personal_tokens.c.previous_digest == bindparam("personal_token"),
            ),
            personal_tokens.c.user_id == users.c.id,
        ),
        isouter=True,
    )
    .join(_owners, _owners.c.id == namespaces.c.user_id, isouter=True)
    .join(
        organization_members,
        and_(
            organization_members.c.organization_id == namespaces.c.user_id,
            organization_members.c.user_id == users.c.id,
        ),
        isouter=True,
    )
    .join(
        collaborators,
        and_(
            collaborators.c.repository_id == hub_repositories.c.repository_id,
            collaborators.c.user_id == users.c.id,
        ),
        isouter=True,
    )
    .join(
        administrator_access,
        and_(
            administrator_access.c.user_id == users.c.id,
            administrator_access.c.repository_id == hub_repositories.c.repository_id,
        ),
        isouter=True,
    )
)


PUBLIC: ColumnElement[bool] = hub_repositories.c.visibility == literal_column(f"'{Visibility.PUBLIC.value}'")
INTERNAL: ColumnElement[bool] = hub_repositories.c.visibility == literal_column(f"'{Visibility.INTERNAL.value}'")
PRIVATE: ColumnElement[bool] = hub_repositories.c.visibility == literal_column(f"'{Visibility.PRIVATE.value}'")
"""Who may see a repository; literals, because the condition of an index cannot match a parameter."""

NOT_TAKEN_DOWN: ColumnElement[bool] = hub_repositories.c.taken_down_at.is_(None)

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
    return _context_of(row, namespace, actor)


def _context_of(row: Row[Any], namespace: str, actor: HubActor) -> AccessContext:
    credential = None
    if row.user_id is not None:
        credential = _credential_state(row, actor.personal_token_digest)
    if row.owner_deleted_at is not None:
        # Its repositories are being deleted one after the other; until then they look as if they did not exist.
        return AccessContext(None, None, None, None, None, row.user_id, bool(row.admin), credential=credential)
    limited = not row.owner_admin and (row.storage_limit, row.upload_limit) != (None, None)
    roles = (row.collaborator_role, row.team_role, row.pattern_role)
    # The organization itself is the account of its robots.
    lacking = row.user_id not in (None, row.owner_id) and row.require_second_factor and not row.second_factor
    granted = None if lacking else max((role for role in roles if role), default=None)
    return AccessContext(
        kind_of(row.kind, row.owner_kind) if row.kind is not None else None,
        row.namespace_id,
        row.owner_id,
        row.repository_id,
        Visibility(row.visibility) if row.visibility is not None else None,
        row.user_id,
        bool(row.admin),
        bool(row.built),
        Limits(namespace, row.storage_limit, row.upload_limit) if limited else UNLIMITED,
        row.owner_blocked_at is not None,
        credential,
        bool(row.curator),
        OrganizationRole(row.member) if row.member and not lacking else None,
        RepositoryRole(row.member_role) if row.member_role else None,
        RepositoryRole(granted) if granted else None,
        bool(row.members_create),
        bool(lacking and (row.member or any(roles))),
        row.email_confirmed_at is not None,
        row.taken_down_reason if row.taken_down_at is not None else None,
        row.opened_until if row.admin else None,
    )


def _credential_state(row: Row[Any], token_digest: str) -> CredentialState:
    account = (row.user_name, row.blocked_at is not None, row.credential_generation)
    if row.token_digest is None:
        return CredentialState(*account)
    ends = [row.expires_at]
    if row.token_digest != token_digest:  # the secret before the last rotation
        ends.append(row.previous_expires_at)
    rights, repositories = limits_of(row)
    return CredentialState(*account, rights, min((end for end in ends if end), default=None), repositories)


def seen_by(statement: Select[Any], reader: Reader) -> Select[Any]:
    """Restrict a query over repositories joined with namespaces to those that the reader may read."""
    if reader.user_id is None:
        return statement.where(false() if reader.nothing else PUBLIC)
    # Who is not signed in sees only public ones; what is taken down is private.
    return statement.where(NOT_TAKEN_DOWN, seen_by_account(literal(reader.user_id, users.c.id.type)))


def seen_by_account(user_id: ColumnElement[int]) -> ColumnElement[bool]:
    """Return whether an account may read a repository, joined with its namespace."""
    return or_(
        PUBLIC,
        INTERNAL,
        namespaces.c.user_id == user_id,
        namespaces.c.id.in_(shared_namespaces(user_id)),
        is_granted(user_id),
    )


def has_second_factor(user_id: ColumnElement[int]) -> ColumnElement[bool]:
    """Return whether the account meets the rule of a repository's owner about second factors."""
    required = (
        select(_owners.c.require_second_factor)
        .join_from(_homes, _owners, _owners.c.id == _homes.c.user_id)
        .where(_homes.c.id == hub_repositories.c.namespace_id, _owners.c.id != user_id)
        .correlate(hub_repositories)
        .scalar_subquery()
    )
    # Single values, so that no engine reads all owners with the rule.
    given = select(_accounts.c.second_factor).where(_accounts.c.id == user_id).correlate(None).scalar_subquery()
    return or_(given.is_(True), func.coalesce(required, false()).is_(False))


def is_granted(user_id: ColumnElement[int]) -> ColumnElement[bool]:
    """Return whether teams or collaboration share a repository with the account."""
    collaborates = (
        select(1)
        .where(collaborators.c.repository_id == hub_repositories.c.repository_id, collaborators.c.user_id == user_id)
        .correlate(hub_repositories)
        .exists()
    )
    by_team = (
        select(1)
        .select_from(team_repositories)
        .join(team_members, team_members.c.team_id == team_repositories.c.team_id)
        .where(team_repositories.c.repository_id == hub_repositories.c.repository_id, team_members.c.user_id == user_id)
        .correlate(hub_repositories)
        .exists()
    )
    return and_(or_(collaborates, by_team), has_second_factor(user_id))


def shared_namespaces(user_id: ColumnElement[int]) -> Select[Any]:
    """Return the query of the ids of the organizations' namespaces whose every repository the account may read."""
    return (
        select(namespaces.c.id)
        .join(organization_members, organization_members.c.organization_id == namespaces.c.user_id)
        .join(_owners, _owners.c.id == namespaces.c.user_id)
        .join(_accounts, _accounts.c.id == organization_members.c.user_id)
        .where(
            organization_members.c.user_id == user_id,
            or_(_owners.c.require_second_factor.is_(False), _accounts.c.second_factor.is_(True)),
            or_(organization_members.c.role >= OrganizationRole.OWNER.value, _owners.c.member_role > 0),
        )
        .correlate(None)
    )


def granted_ids(user_id: ColumnElement[int]) -> CompoundSelect[Any]:
    """Return the query of the ids of the repositories that the account may read as collaborator or by a team."""
    return union_all(
        select(collaborators.c.repository_id).where(collaborators.c.user_id == user_id),
        select(team_repositories.c.repository_id)
        .join(team_members, team_members.c.team_id == team_repositories.c.team_id)
        .where(team_members.c.user_id == user_id),
    )


_USER_ID = bindparam("user_id", type_=users.c.id.type)
_READ_NAMESPACES = (
    select(namespaces.c.id).where(namespaces.c.user_id == _USER_ID).union_all(shared_namespaces(_USER_ID))
)


async def audiences(session: Session, reader: Reader) -> tuple[str, ...]:
    """Return the audiences of catalog entries for a reader, except of single repositories shared with them."""
    if reader.user_id is None:
        return () if reader.nothing else (Visibility.PUBLIC.value,)
    own = await session.rows(_READ_NAMESPACES, {"user_id": reader.user_id})
    private = (audience(Visibility.PRIVATE, row.id) for row in own)
    return (Visibility.PUBLIC.value, Visibility.INTERNAL.value, *private)


def audience(visibility: Visibility, namespace_id: int) -> str:
    """Return the audience of a repository. The triggers of migration 0017 use the same texts."""
    return f"namespace {namespace_id}" if visibility is Visibility.PRIVATE else visibility.value


async def visible(
    session: Session, reader: Reader, repositories: Collection[str], *, everything: bool
) -> frozenset[str]:
    """Return which of the canonical names are repositories that the reader may read."""
    statement = select((namespaces.c.name + "/" + hub_repositories.c.name).label("full")).join_from(
        hub_repositories, namespaces
    )
    pairs = [name.split("/", 1) for name in repositories]
    # Not as pairs: SQLite searches the whole table for a list of those.
    query = statement.where(
        namespaces.c.name.in_(sorted({namespace for namespace, _ in pairs})),
        hub_repositories.c.name.in_(sorted({name for _, name in pairs})),
    )
    rows = await session.rows(query if everything else seen_by(query, reader))
    return frozenset(row.full for row in rows).intersection(repositories)
