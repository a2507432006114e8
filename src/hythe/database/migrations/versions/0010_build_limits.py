"""Build minutes are counted per account and day, and accounts have a limit of them.

A trigger counts a build once, when it ends, whichever server ends it. Layers that older versions stored under tags go:
builds use only layers that the hub recorded.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_DAY = {
    "sqlite": "CAST(julianday({row}.finished_at) - 2440587.5 AS INTEGER)",
    "postgresql": "CAST(floor(extract(epoch FROM {row}.finished_at) / 86400) AS integer)",
}
_SECONDS = {
    "sqlite": "max(0, CAST(round((julianday({row}.finished_at) - julianday({row}.started_at)) * 86400) AS INTEGER))",
    "postgresql": "greatest(0, CAST(round(extract(epoch FROM {row}.finished_at - {row}.started_at)) AS integer))",
}
_TODAY = {
    "sqlite": "CAST(julianday('now') - 2440587.5 AS INTEGER)",
    "postgresql": "CAST(floor(extract(epoch FROM now()) / 86400) AS integer)",
}

_FILL = """
INSERT INTO build_usage (account, day, seconds)
SELECT builds.account, {day}, sum({seconds}) FROM builds
WHERE builds.finished_at IS NOT NULL AND builds.started_at IS NOT NULL AND {day} > {today} - 30
GROUP BY 1, 2
"""

_SQLITE_TRIGGER = """
CREATE TRIGGER build_counted AFTER UPDATE OF finished_at ON builds
WHEN old.finished_at IS NULL AND new.finished_at IS NOT NULL AND new.started_at IS NOT NULL BEGIN
    INSERT INTO build_usage (account, day, seconds) VALUES (new.account, {day}, {seconds})
    ON CONFLICT (account, day) DO UPDATE SET seconds = seconds + excluded.seconds;
    DELETE FROM build_usage WHERE account = new.account AND day <= {day} - 30;
END
"""

_POSTGRESQL_FUNCTION = """
CREATE FUNCTION count_build() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO build_usage (account, day, seconds) VALUES (NEW.account, {day}, {seconds})
    ON CONFLICT (account, day) DO UPDATE SET seconds = build_usage.seconds + excluded.seconds;
    DELETE FROM build_usage WHERE account = NEW.account AND day <= {day} - 30;
    RETURN NULL;
END $$
"""

_POSTGRESQL_TRIGGER = """
CREATE TRIGGER build_counted AFTER UPDATE OF finished_at ON builds FOR EACH ROW
WHEN (OLD.finished_at IS NULL AND NEW.finished_at IS NOT NULL AND NEW.started_at IS NOT NULL)
EXECUTE FUNCTION count_build()
"""


def upgrade() -> None:
    """Count the builds of the last 30 days, and from then on every build. Accounts keep what they may use."""
    dialect = op.get_bind().dialect.name
    op.add_column("users", sa.Column("build_limit", sa.Integer))
    op.create_table(
        "build_usage",
        sa.Column("account", sa.String(39), nullable=False),
        sa.Column("day", sa.Integer, nullable=False),
        sa.Column("seconds", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("account", "day", name=op.f("pk_build_usage")),
    )
    if dialect == "postgresql":
        # Older servers may be running: the builds that they end wait until the trigger counts them.
        op.execute("LOCK TABLE builds IN SHARE ROW EXCLUSIVE MODE")
    day, seconds, today = _DAY[dialect], _SECONDS[dialect], _TODAY[dialect]
    op.execute(_FILL.format(day=day.format(row="builds"), seconds=seconds.format(row="builds"), today=today))
    trigger = _POSTGRESQL_FUNCTION if dialect == "postgresql" else _SQLITE_TRIGGER
    _run(trigger.format(day=day.format(row="new"), seconds=seconds.format(row="new")))
    if dialect == "postgresql":
        _run(_POSTGRESQL_TRIGGER)
    op.execute("DELETE FROM tags WHERE name LIKE 'sha256-%.layers'")


def _run(statement: str) -> None:
    """Run a statement in which colons have no meaning."""
    op.get_bind().exec_driver_sql(statement)
