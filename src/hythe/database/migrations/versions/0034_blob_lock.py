"""PostgreSQL locks a blob in one statement: its digest, since its row may not exist yet, and then the row.

The function reads the row after it got the first lock, so it sees what others committed while it waited; a single
query would not. Older servers lock in two statements, with the same effect.
"""

from alembic import op

revision = "0034"
down_revision = "0037"
branch_labels = None
depends_on = None

_LOCK_BLOB = """
CREATE FUNCTION lock_blob(key bigint, of_digest text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    deleted timestamp with time zone;
BEGIN
    PERFORM pg_advisory_xact_lock(key);
    SELECT deleting_since INTO deleted FROM blobs WHERE digest = of_digest FOR NO KEY UPDATE;
    RETURN deleted IS NULL;
END $$
"""


def upgrade() -> None:
    """Add a function; SQLite has one writer and locks nothing."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(_LOCK_BLOB)
