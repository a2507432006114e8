"""The tables of organizations and collaborators.

    users (kind "organization") ─┬─ organization_members ── users
                                 ├─ teams ─┬─ team_members ── users
                                 │         ├─ team_grants         as owners wrote them: a repository or a pattern
                                 │         └─ team_repositories   what the grants mean for each existing repository
                                 └─ invitations
    hub_repositories ── collaborators ── users

Roles are the numbers of ``hub.roles``.
"""

from sqlalchemy import Column, ForeignKey, Index, Integer, String, Table, Text, UniqueConstraint

from hythe.database.tables.metadata import METADATA, Identity, Timestamp

_USER = "users.id"
_TEAM = "teams.id"
_REPOSITORY = "hub_repositories.repository_id"

organization_members = Table(
    "organization_members",
    METADATA,
    Column("organization_id", Identity, ForeignKey(_USER, ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("user_id", Identity, ForeignKey(_USER, ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("role", Integer, nullable=False),
    Column("joined_at", Timestamp, nullable=False),
    Index("ix_organization_members_user", "user_id", "organization_id"),
)

teams = Table(
    "teams",
    METADATA,
    Column("id", Identity, primary_key=True),
    Column("organization_id", Identity, ForeignKey(_USER, ondelete="CASCADE"), nullable=False),
    Column("name", String(39), nullable=False),  # "-" and the id: being deleted
    Column("description", String(200), nullable=False),
    Column("created_at", Timestamp, nullable=False),
    # While a changed grant is applied step by step: repositories up to this name are done. NULL: all are.
    Column("applied_to", String(255)),
    UniqueConstraint("organization_id", "name"),
)
_unapplied = teams.c.applied_to.is_not(None)
Index("ix_teams_unapplied", teams.c.id, sqlite_where=_unapplied, postgresql_where=_unapplied)

team_members = Table(
    "team_members",
    METADATA,
    Column("team_id", Identity, ForeignKey(_TEAM, ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("user_id", Identity, ForeignKey(_USER, ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("added_at", Timestamp, nullable=False),
    Index("ix_team_members_user", "user_id", "team_id"),
)

team_grants = Table(
    "team_grants",
    METADATA,
    Column("id", Identity, primary_key=True),
    Column("team_id", Identity, ForeignKey(_TEAM, ondelete="CASCADE"), nullable=False),
    # One of the two: a repository, or a pattern of names in the organization, in which * matches any text.
    Column("repository_id", Identity, ForeignKey(_REPOSITORY, ondelete="CASCADE"), index=True),
    Column("pattern", String(255)),
    Column("like_pattern", Text),  # the pattern for LIKE, with the escape character \
    Column("role", Integer, nullable=False),
    UniqueConstraint("team_id", "repository_id"),
    UniqueConstraint("team_id", "pattern"),
    Index("ix_team_grants_team", "team_id", "id"),
)

team_repositories = Table(
    "team_repositories",
    METADATA,
    Column("team_id", Identity, ForeignKey(_TEAM, ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column(
        "repository_id", Identity, ForeignKey(_REPOSITORY, ondelete="CASCADE"), primary_key=True, autoincrement=False
    ),
    Column("role", Integer, nullable=False),  # the highest of the team's grants
    Index("ix_team_repositories_repository", "repository_id", "team_id", "role"),
)

collaborators = Table(
    "collaborators",
    METADATA,
    Column(
        "repository_id", Identity, ForeignKey(_REPOSITORY, ondelete="CASCADE"), primary_key=True, autoincrement=False
    ),
    Column("user_id", Identity, ForeignKey(_USER, ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("role", Integer, nullable=False),
    Column("added_at", Timestamp, nullable=False),
    Index("ix_collaborators_user", "user_id", "repository_id", "role"),
)

invitations = Table(
    "invitations",
    METADATA,
    Column("id", Identity, primary_key=True),
    # To an organization, and perhaps one of its teams, or to a repository.
    Column("organization_id", Identity, ForeignKey(_USER, ondelete="CASCADE")),
    Column("team_id", Identity, ForeignKey(_TEAM, ondelete="SET NULL"), index=True),
    Column("repository_id", Identity, ForeignKey(_REPOSITORY, ondelete="CASCADE")),
    Column("role", Integer, nullable=False),
    # An account, or an e-mail address (lower case) with the SHA-256 of the secret in the message.
    Column("user_id", Identity, ForeignKey(_USER, ondelete="CASCADE")),
    Column("email", String(254)),
    Column("digest", String(64), unique=True),
    Column("invited_by", Identity, ForeignKey(_USER, ondelete="SET NULL"), index=True),
    Column("created_at", Timestamp, nullable=False),
    Column("expires_at", Timestamp, nullable=False, index=True),
    Index("ix_invitations_organization_id", "organization_id", "id"),
    Index("ix_invitations_repository_id", "repository_id", "id"),
    Index("ix_invitations_user_id", "user_id", "id"),
)
