"""The registry's tables: repositories, blobs, manifests, tags with their history, uploads."""

import sqlalchemy as sa
from alembic import op

from hythe.database.tables.metadata import Identity, Timestamp

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _ordered(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


NAME = _ordered(255)
TAG = _ordered(128)
DIGEST = _ordered(140)


def upgrade() -> None:
    """Expand the schema."""
    _repositories()
    _manifests()
    _manifest_references()
    _tags()
    _uploads()
    _mirrored_manifests()


def _repositories() -> None:
    op.create_table(
        "repositories",
        sa.Column("id", Identity, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("created_at", Timestamp, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_repositories")),
        sa.UniqueConstraint("name", name=op.f("uq_repositories_name")),
    )
    op.create_table(
        "blobs",
        sa.Column("digest", DIGEST, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("stored_at", Timestamp, nullable=False),
        sa.Column("free_after", Timestamp, nullable=True),
        sa.Column("doomed_at", Timestamp, nullable=True),
        sa.Column("quarantined_at", Timestamp, nullable=True),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_blobs")),
    )
    op.create_index(
        "ix_blobs_free_after",
        "blobs",
        ["free_after"],
        sqlite_where=sa.text("free_after IS NOT NULL"),
        postgresql_where=sa.text("free_after IS NOT NULL"),
    )
    op.create_table(
        "repository_blobs",
        sa.Column("repository_id", Identity, nullable=False),
        sa.Column("digest", DIGEST, nullable=False),
        sa.Column("linked_at", Timestamp, nullable=False),
        sa.Column("free_after", Timestamp, nullable=True),
        sa.ForeignKeyConstraint(["digest"], ["blobs.digest"], name=op.f("fk_repository_blobs_digest")),
        sa.ForeignKeyConstraint(
            ["repository_id"], ["repositories.id"], name=op.f("fk_repository_blobs_repository_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("repository_id", "digest", name=op.f("pk_repository_blobs")),
    )
    op.create_index(op.f("ix_repository_blobs_digest"), "repository_blobs", ["digest"])
    op.create_index(
        "ix_repository_blobs_free_after",
        "repository_blobs",
        ["free_after"],
        sqlite_where=sa.text("free_after IS NOT NULL"),
        postgresql_where=sa.text("free_after IS NOT NULL"),
    )


def _manifests() -> None:
    op.create_table(
        "manifests",
        sa.Column("repository_id", Identity, nullable=False),
        sa.Column("digest", DIGEST, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("media_type", sa.String(length=255), nullable=False),
        sa.Column("artifact_type", sa.Text(), nullable=False),
        sa.Column("subject", DIGEST, nullable=True),
        sa.Column("annotations", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("pushed_at", Timestamp, nullable=False),
        sa.Column("pushed_by", sa.String(length=255), nullable=False),
        sa.Column("free_after", Timestamp, nullable=True),
        sa.ForeignKeyConstraint(
            ["repository_id"], ["repositories.id"], name=op.f("fk_manifests_repository_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("repository_id", "digest", name=op.f("pk_manifests")),
    )
    op.create_index(
        "ix_manifests_free_after",
        "manifests",
        ["free_after"],
        sqlite_where=sa.text("free_after IS NOT NULL"),
        postgresql_where=sa.text("free_after IS NOT NULL"),
    )
    op.create_index(
        "ix_manifests_subject",
        "manifests",
        ["repository_id", "subject", "digest"],
        sqlite_where=sa.text("subject IS NOT NULL"),
        postgresql_where=sa.text("subject IS NOT NULL"),
    )


def _manifest_references() -> None:
    op.create_table(
        "manifest_blobs",
        sa.Column("repository_id", Identity, nullable=False),
        sa.Column("manifest", DIGEST, nullable=False),
        sa.Column("blob", DIGEST, nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id", "manifest"],
            ["manifests.repository_id", "manifests.digest"],
            name=op.f("fk_manifest_blobs_repository_id_manifest"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("repository_id", "manifest", "blob", name=op.f("pk_manifest_blobs")),
    )
    op.create_index("ix_manifest_blobs_blob", "manifest_blobs", ["repository_id", "blob"])
    op.create_table(
        "manifest_children",
        sa.Column("repository_id", Identity, nullable=False),
        sa.Column("manifest", DIGEST, nullable=False),
        sa.Column("child", DIGEST, nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id", "manifest"],
            ["manifests.repository_id", "manifests.digest"],
            name=op.f("fk_manifest_children_repository_id_manifest"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("repository_id", "manifest", "child", name=op.f("pk_manifest_children")),
    )
    op.create_index("ix_manifest_children_child", "manifest_children", ["repository_id", "child"])


def _tags() -> None:
    op.create_table(
        "tags",
        sa.Column("repository_id", Identity, nullable=False),
        sa.Column("name", TAG, nullable=False),
        sa.Column("digest", DIGEST, nullable=False),
        sa.Column("moved_at", Timestamp, nullable=False),
        sa.Column("moved_by", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id", "digest"],
            ["manifests.repository_id", "manifests.digest"],
            name=op.f("fk_tags_repository_id_digest"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["repository_id"], ["repositories.id"], name=op.f("fk_tags_repository_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("repository_id", "name", name=op.f("pk_tags")),
    )
    op.create_index("ix_tags_digest", "tags", ["repository_id", "digest"])
    op.create_table(
        "tag_moves",
        sa.Column("id", Identity, nullable=False),
        sa.Column("repository_id", Identity, nullable=False),
        sa.Column("tag", TAG, nullable=False),
        sa.Column("digest", DIGEST, nullable=True),
        sa.Column("previous", DIGEST, nullable=True),
        sa.Column("moved_at", Timestamp, nullable=False),
        sa.Column("moved_by", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id"], ["repositories.id"], name=op.f("fk_tag_moves_repository_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tag_moves")),
    )
    op.create_index("ix_tag_moves_tag", "tag_moves", ["repository_id", "tag", "id"])
    op.create_table(
        "tag_rules",
        sa.Column("repository_id", Identity, nullable=False),
        sa.Column("pattern", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id"], ["repositories.id"], name=op.f("fk_tag_rules_repository_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("repository_id", "pattern", name=op.f("pk_tag_rules")),
    )


def _uploads() -> None:
    op.create_table(
        "uploads",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("repository", NAME, nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("digest", DIGEST, nullable=True),
        sa.Column("started_by", sa.String(length=255), nullable=False),
        sa.Column("started_at", Timestamp, nullable=False),
        sa.Column("touched_at", Timestamp, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploads")),
    )
    op.create_index(op.f("ix_uploads_digest"), "uploads", ["digest"])
    op.create_index(op.f("ix_uploads_touched_at"), "uploads", ["touched_at"])


def _mirrored_manifests() -> None:
    op.create_table(
        "mirrored_manifests",
        sa.Column("repository_id", Identity, nullable=False),
        sa.Column("digest", DIGEST, nullable=False),
        sa.Column("used_at", Timestamp, nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id", "digest"],
            ["manifests.repository_id", "manifests.digest"],
            name=op.f("fk_mirrored_manifests_repository_id_digest"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("repository_id", "digest", name=op.f("pk_mirrored_manifests")),
    )
    op.create_index(op.f("ix_mirrored_manifests_used_at"), "mirrored_manifests", ["used_at"])
