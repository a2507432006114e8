"""What each namespace stores is counted, and accounts have limits.

Triggers keep the counts on every path that links or unlinks a blob, cascades and older servers included. On PostgreSQL:

- Transactions lock digests and rows of ``blobs`` first, then the row of ``namespace_usage``, then ``namespace_blobs``.
  Another order would deadlock. That is why a new repository is counted at the end of its transaction.
- Deletions count per statement, because updating one row thousands of times in a transaction is slow.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def _ordered(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


_NAMESPACE_OF = {
    "sqlite": "substr({name}, 1, instr({name} || '/', '/') - 1)",
    "postgresql": "split_part({name}, '/', 1)",
}

_FILL_BLOBS = """
INSERT INTO namespace_blobs (namespace, digest, size, repositories)
SELECT {namespace}, repository_blobs.digest, blobs.size, count(*)
FROM repository_blobs
JOIN repositories ON repositories.id = repository_blobs.repository_id
JOIN blobs ON blobs.digest = repository_blobs.digest
GROUP BY 1, 2, 3
"""

_FILL_USAGE = """
INSERT INTO namespace_usage (namespace, bytes, repositories)
SELECT counted.namespace, coalesce(linked.bytes, 0) + coalesce(described.bytes, 0), counted.repositories
FROM (SELECT {namespace} AS namespace, count(*) AS repositories FROM repositories GROUP BY 1) AS counted
LEFT JOIN (SELECT namespace, sum(size) AS bytes FROM namespace_blobs GROUP BY namespace) AS linked
    ON linked.namespace = counted.namespace
LEFT JOIN (
    SELECT {namespace} AS namespace, sum(manifests.size) AS bytes
    FROM manifests JOIN repositories ON repositories.id = manifests.repository_id GROUP BY 1
) AS described ON described.namespace = counted.namespace
"""

_SQLITE_TRIGGERS = """
CREATE TRIGGER repository_counted AFTER INSERT ON repositories BEGIN
    INSERT INTO namespace_usage (namespace, bytes, repositories) VALUES ({new}, 0, 1)
    ON CONFLICT (namespace) DO UPDATE SET repositories = repositories + 1;
END;
CREATE TRIGGER repository_emptied BEFORE DELETE ON repositories BEGIN
    DELETE FROM manifests WHERE repository_id = old.id;
    DELETE FROM repository_blobs WHERE repository_id = old.id;
END;
CREATE TRIGGER repository_uncounted AFTER DELETE ON repositories BEGIN
    UPDATE namespace_usage SET repositories = repositories - 1 WHERE namespace = {old};
    DELETE FROM namespace_usage WHERE namespace = {old} AND repositories <= 0;
END;
CREATE TRIGGER repository_blob_counted AFTER INSERT ON repository_blobs BEGIN
    INSERT INTO namespace_blobs (namespace, digest, size, repositories)
    SELECT {namespace}, new.digest, blobs.size, 1 FROM repositories JOIN blobs ON blobs.digest = new.digest
    WHERE repositories.id = new.repository_id
    ON CONFLICT (namespace, digest) DO UPDATE SET repositories = repositories + 1;
END;
CREATE TRIGGER repository_blob_uncounted AFTER DELETE ON repository_blobs BEGIN
    UPDATE namespace_blobs SET repositories = repositories - 1
    WHERE namespace = (SELECT {namespace} FROM repositories WHERE id = old.repository_id) AND digest = old.digest;
    DELETE FROM namespace_blobs
    WHERE namespace = (SELECT {namespace} FROM repositories WHERE id = old.repository_id) AND digest = old.digest
        AND repositories <= 0;
END;
CREATE TRIGGER namespace_blob_counted AFTER INSERT ON namespace_blobs BEGIN
    UPDATE namespace_usage SET bytes = bytes + new.size WHERE namespace = new.namespace;
END;
CREATE TRIGGER namespace_blob_uncounted AFTER DELETE ON namespace_blobs BEGIN
    UPDATE namespace_usage SET bytes = bytes - old.size WHERE namespace = old.namespace;
END;
CREATE TRIGGER manifest_counted AFTER INSERT ON manifests BEGIN
    UPDATE namespace_usage SET bytes = bytes + new.size
    WHERE namespace = (SELECT {namespace} FROM repositories WHERE id = new.repository_id);
END;
CREATE TRIGGER manifest_uncounted AFTER DELETE ON manifests BEGIN
    UPDATE namespace_usage SET bytes = bytes - old.size
    WHERE namespace = (SELECT {namespace} FROM repositories WHERE id = old.repository_id);
END;
"""

_POSTGRESQL_FUNCTIONS = """
CREATE FUNCTION count_repository() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO namespace_usage (namespace, bytes, repositories) VALUES (split_part(NEW.name, '/', 1), 0, 1)
    ON CONFLICT (namespace) DO UPDATE SET repositories = namespace_usage.repositories + 1;
    RETURN NULL;
END $$;
CREATE FUNCTION empty_repository() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM manifests WHERE repository_id = OLD.id;
    DELETE FROM repository_blobs WHERE repository_id = OLD.id;
    RETURN OLD;
END $$;
CREATE FUNCTION uncount_repository() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE namespace_usage SET repositories = repositories - 1 WHERE namespace = split_part(OLD.name, '/', 1);
    DELETE FROM namespace_usage WHERE namespace = split_part(OLD.name, '/', 1) AND repositories <= 0;
    RETURN NULL;
END $$;
CREATE FUNCTION count_repository_blob() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    owner text;
    in_repositories integer;
    added bigint;
BEGIN
    SELECT split_part(name, '/', 1) INTO owner FROM repositories WHERE id = NEW.repository_id;
    PERFORM 1 FROM namespace_usage WHERE namespace = owner FOR UPDATE;
    INSERT INTO namespace_blobs (namespace, digest, size, repositories)
    SELECT owner, digest, blobs.size, 1 FROM blobs WHERE digest = NEW.digest
    ON CONFLICT (namespace, digest) DO UPDATE SET repositories = namespace_blobs.repositories + 1
    RETURNING repositories, size INTO in_repositories, added;
    IF in_repositories = 1 THEN
        INSERT INTO namespace_usage (namespace, bytes, repositories) VALUES (owner, added, 0)
        ON CONFLICT (namespace) DO UPDATE SET bytes = namespace_usage.bytes + added;
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION uncount_repository_blobs() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    PERFORM 1 FROM namespace_usage WHERE namespace IN (
        SELECT split_part(name, '/', 1) FROM repositories WHERE id IN (SELECT repository_id FROM unlinked)
    ) ORDER BY namespace FOR UPDATE;
    WITH removed AS (
        SELECT split_part(repositories.name, '/', 1) AS namespace, unlinked.digest, count(*) AS links
        FROM unlinked JOIN repositories ON repositories.id = unlinked.repository_id GROUP BY 1, 2
    ), remaining AS (
        UPDATE namespace_blobs SET repositories = repositories - removed.links FROM removed
        WHERE namespace_blobs.namespace = removed.namespace AND namespace_blobs.digest = removed.digest
            AND repositories > removed.links
    ), last AS (
        DELETE FROM namespace_blobs USING removed
        WHERE namespace_blobs.namespace = removed.namespace AND namespace_blobs.digest = removed.digest
            AND repositories <= removed.links
        RETURNING namespace_blobs.namespace, namespace_blobs.size
    )
    UPDATE namespace_usage SET bytes = bytes - freed.size
    FROM (SELECT namespace, sum(size) AS size FROM last GROUP BY namespace) AS freed
    WHERE namespace_usage.namespace = freed.namespace;
    RETURN NULL;
END $$;
CREATE FUNCTION count_manifest() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO namespace_usage (namespace, bytes, repositories)
    SELECT split_part(name, '/', 1), NEW.size, 0 FROM repositories WHERE id = NEW.repository_id
    ON CONFLICT (namespace) DO UPDATE SET bytes = namespace_usage.bytes + NEW.size;
    RETURN NULL;
END $$;
CREATE FUNCTION uncount_manifests() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    UPDATE namespace_usage SET bytes = bytes - freed.size FROM (
        SELECT split_part(repositories.name, '/', 1) AS namespace, sum(removed.size) AS size
        FROM removed JOIN repositories ON repositories.id = removed.repository_id GROUP BY 1
    ) AS freed WHERE namespace_usage.namespace = freed.namespace;
    RETURN NULL;
END $$;
"""

# One round trip for a push: lock the row, which may not exist yet, then read what other transactions committed.
_POSTGRESQL_LOCK = """
CREATE FUNCTION lock_namespace_usage(
    of_namespace text, of_digest text, except_upload text,
    OUT stored bigint, OUT open_uploads bigint, OUT uploading bigint, OUT blob_size bigint
) LANGUAGE plpgsql AS $$
BEGIN
    SELECT bytes INTO stored FROM namespace_usage WHERE namespace = of_namespace FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO namespace_usage (namespace, bytes, repositories) VALUES (of_namespace, 0, 0)
        ON CONFLICT (namespace) DO UPDATE SET bytes = namespace_usage.bytes RETURNING bytes INTO stored;
    END IF;
    SELECT count(*), coalesce(sum(CASE WHEN id = except_upload THEN 0 ELSE greatest("offset", reserved) END), 0)
    INTO open_uploads, uploading FROM uploads
    WHERE repository > of_namespace || '/' AND repository < of_namespace || '0';
    SELECT size INTO blob_size FROM namespace_blobs WHERE namespace = of_namespace AND digest = of_digest;
END $$;
"""

_POSTGRESQL_TRIGGERS = """
CREATE CONSTRAINT TRIGGER repository_counted AFTER INSERT ON repositories DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION count_repository();
CREATE TRIGGER repository_emptied BEFORE DELETE ON repositories
    FOR EACH ROW EXECUTE FUNCTION empty_repository();
CREATE TRIGGER repository_uncounted AFTER DELETE ON repositories
    FOR EACH ROW EXECUTE FUNCTION uncount_repository();
CREATE TRIGGER repository_blob_counted AFTER INSERT ON repository_blobs
    FOR EACH ROW EXECUTE FUNCTION count_repository_blob();
CREATE TRIGGER repository_blobs_uncounted AFTER DELETE ON repository_blobs
    REFERENCING OLD TABLE AS unlinked FOR EACH STATEMENT EXECUTE FUNCTION uncount_repository_blobs();
CREATE TRIGGER manifest_counted AFTER INSERT ON manifests
    FOR EACH ROW EXECUTE FUNCTION count_manifest();
CREATE TRIGGER manifests_uncounted AFTER DELETE ON manifests
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION uncount_manifests();
"""


def upgrade() -> None:
    """Count what is stored, and from then on every change. Accounts keep what they may store."""
    dialect = op.get_bind().dialect.name
    _create_tables()
    _add_limits()
    if dialect == "postgresql":
        # Older servers may be running: what they write waits until the triggers count it.
        op.execute("LOCK TABLE repositories, repository_blobs, manifests IN SHARE ROW EXCLUSIVE MODE")
    namespace = _NAMESPACE_OF[dialect].format(name="repositories.name")
    op.execute(_FILL_BLOBS.format(namespace=namespace))
    op.execute(_FILL_USAGE.format(namespace=namespace))
    if dialect == "postgresql":
        _run(_POSTGRESQL_FUNCTIONS + _POSTGRESQL_LOCK, "$$;\n")
        _run(_POSTGRESQL_TRIGGERS, ";\n")
    else:
        new, old = (_NAMESPACE_OF[dialect].format(name=f"{row}.name") for row in ("new", "old"))
        _run(_SQLITE_TRIGGERS.format(namespace=namespace, new=new, old=old), "END;\n")


def _create_tables() -> None:
    op.create_table(
        "namespace_usage",
        sa.Column("namespace", _ordered(255), nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("repositories", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("namespace", name=op.f("pk_namespace_usage")),
    )
    op.create_table(
        "namespace_blobs",
        sa.Column("namespace", _ordered(255), nullable=False),
        sa.Column("digest", _ordered(140), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("repositories", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("namespace", "digest", name=op.f("pk_namespace_blobs")),
    )


def _add_limits() -> None:
    op.add_column("users", sa.Column("repository_limit", sa.Integer))
    op.add_column("users", sa.Column("storage_limit", sa.BigInteger))
    op.add_column("users", sa.Column("upload_limit", sa.Integer, server_default="100"))
    op.add_column("uploads", sa.Column("reserved", sa.BigInteger, nullable=False, server_default="0"))
    op.create_index("ix_uploads_repository", "uploads", ["repository"])


def _run(script: str, end: str) -> None:
    """Run the statements of a script, each of which ends with ``end``: drivers take one at a time."""
    for statement in script.split(end)[:-1]:
        op.get_bind().exec_driver_sql(f"{statement}{end}".strip().removesuffix(";"))
