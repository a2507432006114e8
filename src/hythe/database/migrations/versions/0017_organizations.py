"""Organizations, teams and collaborators share repositories.

An organization is a row of ``users`` that cannot sign in, so that plans, quotas and builds treat it as any account, and
an older server, too.
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_TIMESTAMP = sa.DateTime(timezone=True)
_IDENTITY = sa.BigInteger().with_variant(sa.Integer, "sqlite")

_AUDIENCE = """
coalesce((
    SELECT CASE visibility WHEN 'public' THEN 'public' WHEN 'internal' THEN 'internal'
        ELSE 'namespace ' || namespace_id END
    FROM hub_repositories WHERE repository_id = NEW.repository_id{lock}
), '')
"""

_SQLITE_TRIGGERS = (
    "DROP TRIGGER manifest_in_catalog",
    """
CREATE TRIGGER manifest_in_catalog AFTER INSERT ON manifests
WHEN NOT EXISTS (SELECT 1 FROM catalog_entries WHERE repository_id = new.repository_id) BEGIN
    INSERT INTO catalog_entries (repository_id, name, audience)
    SELECT id, name, {audience} FROM repositories WHERE id = new.repository_id;
END
""",
    "DROP TRIGGER visibility_in_catalog",
    """
CREATE TRIGGER visibility_in_catalog AFTER UPDATE OF visibility ON hub_repositories BEGIN
    UPDATE catalog_entries SET audience = {audience} WHERE repository_id = new.repository_id;
END
""",
)

# FOR SHARE: a push and a change of the visibility at the same time see each other.
_POSTGRESQL_TRIGGERS = (
    """
CREATE OR REPLACE FUNCTION enter_catalog() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM catalog_entries WHERE repository_id = NEW.repository_id) THEN
        INSERT INTO catalog_entries (repository_id, name, audience)
        SELECT id, name, {audience} FROM repositories WHERE id = NEW.repository_id
        ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END $$
""",
    """
CREATE OR REPLACE FUNCTION set_catalog_audience() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE catalog_entries SET audience = {audience} WHERE repository_id = NEW.repository_id;
    RETURN NULL;
END $$
""",
    # For ``internal``. Only the catalog changes: no row is written.
    "DROP TRIGGER visibility_in_catalog ON hub_repositories",
    "ALTER TABLE hub_repositories ALTER COLUMN visibility TYPE varchar(16)",
    """
CREATE TRIGGER visibility_in_catalog AFTER UPDATE OF visibility ON hub_repositories FOR EACH ROW
EXECUTE FUNCTION set_catalog_audience()
""",
    "ALTER TABLE users ALTER COLUMN default_visibility TYPE varchar(16)",
)


def upgrade() -> None:
    """Add columns with defaults and empty tables, and let the catalog tell internal repositories from private ones."""
    _columns()
    _internal()
    _members()
    _teams()
    _invitations()
    dialect = op.get_bind().dialect.name
    for statement in {"sqlite": _SQLITE_TRIGGERS, "postgresql": _POSTGRESQL_TRIGGERS}[dialect]:
        lock = " FOR SHARE" if "enter_catalog()" in statement else ""
        op.get_bind().exec_driver_sql(statement.format(audience=_AUDIENCE.format(lock=lock)).strip())


def _columns() -> None:
    for column in (
        sa.Column("curator", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("kind", sa.String(16), nullable=False, server_default="user"),
        sa.Column("member_role", sa.Integer, nullable=False, server_default="0"),
        sa.Column("members_create", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.Column("require_second_factor", sa.Boolean, nullable=False, server_default=sa.false()),
    ):
        op.add_column("users", column)


def _internal() -> None:
    listed = "listed = 1" if op.get_bind().dialect.name == "sqlite" else "listed"
    internal = sa.text(f"{listed} AND visibility = 'internal'")
    for name, columns in (("changed", ["namespace_id", "updated_at", "name"]), ("name", ["name", "repository_id"])):
        op.create_index(
            f"ix_hub_repositories_internal_{name}",
            "hub_repositories",
            [*columns, "listed", "visibility"],
            sqlite_where=internal,
            postgresql_where=internal,
        )


def _members() -> None:
    op.create_table(
        "organization_members",
        _reference("organization_id"),
        _reference("user_id"),
        sa.Column("role", sa.Integer, nullable=False),
        sa.Column("joined_at", _TIMESTAMP, nullable=False),
        _foreign_key("organization_members", "organization_id", "users.id"),
        _foreign_key("organization_members", "user_id", "users.id"),
        sa.PrimaryKeyConstraint("organization_id", "user_id", name="pk_organization_members"),
    )
    op.create_index("ix_organization_members_user", "organization_members", ["user_id", "organization_id"])
    op.create_table(
        "collaborators",
        _reference("repository_id"),
        _reference("user_id"),
        sa.Column("role", sa.Integer, nullable=False),
        sa.Column("added_at", _TIMESTAMP, nullable=False),
        _foreign_key("collaborators", "repository_id", "hub_repositories.repository_id"),
        _foreign_key("collaborators", "user_id", "users.id"),
        sa.PrimaryKeyConstraint("repository_id", "user_id", name="pk_collaborators"),
    )
    op.create_index("ix_collaborators_user", "collaborators", ["user_id", "repository_id", "role"])


def _teams() -> None:
    op.create_table(
        "teams",
        sa.Column("id", _IDENTITY, nullable=False),
        sa.Column("organization_id", _IDENTITY, nullable=False),
        sa.Column("name", sa.String(39), nullable=False),
        sa.Column("description", sa.String(200), nullable=False),
        sa.Column("created_at", _TIMESTAMP, nullable=False),
        sa.Column("applied_to", sa.String(255)),
        _foreign_key("teams", "organization_id", "users.id"),
        sa.PrimaryKeyConstraint("id", name="pk_teams"),
        sa.UniqueConstraint("organization_id", "name", name="uq_teams_organization_id_name"),
    )
    unapplied = sa.text("applied_to IS NOT NULL")
    op.create_index("ix_teams_unapplied", "teams", ["id"], sqlite_where=unapplied, postgresql_where=unapplied)
    op.create_table(
        "team_members",
        _reference("team_id"),
        _reference("user_id"),
        sa.Column("added_at", _TIMESTAMP, nullable=False),
        _foreign_key("team_members", "team_id", "teams.id"),
        _foreign_key("team_members", "user_id", "users.id"),
        sa.PrimaryKeyConstraint("team_id", "user_id", name="pk_team_members"),
    )
    op.create_index("ix_team_members_user", "team_members", ["user_id", "team_id"])
    op.create_table(
        "team_grants",
        sa.Column("id", _IDENTITY, nullable=False),
        sa.Column("team_id", _IDENTITY, nullable=False),
        sa.Column("repository_id", _IDENTITY),
        sa.Column("pattern", sa.String(255)),
        sa.Column("like_pattern", sa.Text),
        sa.Column("role", sa.Integer, nullable=False),
        _foreign_key("team_grants", "team_id", "teams.id"),
        _foreign_key("team_grants", "repository_id", "hub_repositories.repository_id"),
        sa.PrimaryKeyConstraint("id", name="pk_team_grants"),
        sa.UniqueConstraint("team_id", "repository_id", name="uq_team_grants_team_id_repository_id"),
        sa.UniqueConstraint("team_id", "pattern", name="uq_team_grants_team_id_pattern"),
    )
    op.create_index("ix_team_grants_repository_id", "team_grants", ["repository_id"])
    op.create_index("ix_team_grants_team", "team_grants", ["team_id", "id"])
    op.create_table(
        "team_repositories",
        _reference("team_id"),
        _reference("repository_id"),
        sa.Column("role", sa.Integer, nullable=False),
        _foreign_key("team_repositories", "team_id", "teams.id"),
        _foreign_key("team_repositories", "repository_id", "hub_repositories.repository_id"),
        sa.PrimaryKeyConstraint("team_id", "repository_id", name="pk_team_repositories"),
    )
    op.create_index("ix_team_repositories_repository", "team_repositories", ["repository_id", "team_id", "role"])


def _invitations() -> None:
    op.create_table(
        "invitations",
        sa.Column("id", _IDENTITY, nullable=False),
        sa.Column("organization_id", _IDENTITY),
        sa.Column("team_id", _IDENTITY),
        sa.Column("repository_id", _IDENTITY),
        sa.Column("role", sa.Integer, nullable=False),
        sa.Column("user_id", _IDENTITY),
        sa.Column("email", sa.String(254)),
        sa.Column("digest", sa.String(64)),
        sa.Column("invited_by", _IDENTITY),
        sa.Column("created_at", _TIMESTAMP, nullable=False),
        sa.Column("expires_at", _TIMESTAMP, nullable=False),
        _foreign_key("invitations", "organization_id", "users.id"),
        _foreign_key("invitations", "team_id", "teams.id", "SET NULL"),
        _foreign_key("invitations", "repository_id", "hub_repositories.repository_id"),
        _foreign_key("invitations", "user_id", "users.id"),
        _foreign_key("invitations", "invited_by", "users.id", "SET NULL"),
        sa.PrimaryKeyConstraint("id", name="pk_invitations"),
        sa.UniqueConstraint("digest", name="uq_invitations_digest"),
    )
    for column in ("organization_id", "repository_id", "user_id"):
        op.create_index(f"ix_invitations_{column}", "invitations", [column, "id"])
    for column in ("team_id", "invited_by", "expires_at"):
        op.create_index(f"ix_invitations_{column}", "invitations", [column])


def _reference(name: str) -> "sa.Column[int]":
    return sa.Column(name, _IDENTITY, nullable=False, autoincrement=False)


def _foreign_key(table: str, column: str, target: str, deletion: str = "CASCADE") -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [target], name=op.f(f"fk_{table}_{column}"), ondelete=deletion)
