"""The registry's tables.

    repositories ─┬─ manifests ─┬─ manifest_blobs ──── repository_blobs
                  │             ├─ manifest_children
                  │             └─ mirrored_manifests (those that came from an upstream)
                  ├─ tags (each points at a manifest), tag_moves (their history), tag_rules
                  └─ repository_blobs ──── blobs
    uploads (name their repository by name: it may not exist yet)

What nothing needs any more carries ``free_after``: the moment from which the garbage collection may look whether it is
still unneeded, and take it. Digests are kept as they are spelled, ``algorithm:hex``.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    String,
    Table,
    Text,
)

from hythe.database.tables.metadata import METADATA, Identity, Timestamp


def _ordered(length: int) -> String:
    """Text whose order is that of its bytes, whatever the language of the database is."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


def _free_after_index(table: Table) -> None:
    """Index the few rows that nothing may need any more: finding them costs what they are, not what is stored."""
    marked = table.c.free_after.is_not(None)
    Index(f"ix_{table.name}_free_after", table.c.free_after, sqlite_where=marked, postgresql_where=marked)


_NAME = _ordered(255)
_TAG = _ordered(128)
_DIGEST = _ordered(140)


repositories = Table(
    "repositories",
    METADATA,
    Column("id", Identity, primary_key=True),
    Column("name", _NAME, nullable=False, unique=True),
    Column("created_at", Timestamp, nullable=False),
)

blobs = Table(
    "blobs",
    METADATA,
    Column("digest", _DIGEST, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("stored_at", Timestamp, nullable=False),
    Column("free_after", Timestamp),
    # Set when its bytes are being removed: from then on nobody may link to it any more.
    Column("deleting_since", Timestamp),
    # Set when its bytes were found rotten: it is not served until it has been pushed again.
    Column("quarantined_at", Timestamp),
)
_free_after_index(blobs)

repository_blobs = Table(
    "repository_blobs",
    METADATA,
    Column("repository_id", Identity, ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", _DIGEST, ForeignKey("blobs.digest"), primary_key=True, index=True),
    Column("linked_at", Timestamp, nullable=False),
    Column("free_after", Timestamp),
)
_free_after_index(repository_blobs)

manifests = Table(
    "manifests",
    METADATA,
    Column("repository_id", Identity, ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", _DIGEST, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("media_type", String(255), nullable=False),
    Column("artifact_type", Text, nullable=False),
    Column("subject", _DIGEST),
    Column("annotations", Text, nullable=False),  # a JSON object
    Column("size", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("pushed_at", Timestamp, nullable=False),
    Column("pushed_by", String(255), nullable=False),
    Column("free_after", Timestamp),
)
Index(
    "ix_manifests_subject",
    manifests.c.repository_id,
    manifests.c.subject,
    manifests.c.digest,
    sqlite_where=manifests.c.subject.is_not(None),
    postgresql_where=manifests.c.subject.is_not(None),
)
_free_after_index(manifests)

manifest_blobs = Table(
    "manifest_blobs",
    METADATA,
    Column("repository_id", Identity, primary_key=True),
    Column("manifest", _DIGEST, primary_key=True),
    Column("blob", _DIGEST, primary_key=True),
    ForeignKeyConstraint(
        ["repository_id", "manifest"], ["manifests.repository_id", "manifests.digest"], ondelete="CASCADE"
    ),
    Index("ix_manifest_blobs_blob", "repository_id", "blob"),
)

manifest_children = Table(
    "manifest_children",
    METADATA,
    Column("repository_id", Identity, primary_key=True),
    Column("manifest", _DIGEST, primary_key=True),
    Column("child", _DIGEST, primary_key=True),
    ForeignKeyConstraint(
        ["repository_id", "manifest"], ["manifests.repository_id", "manifests.digest"], ondelete="CASCADE"
    ),
    Index("ix_manifest_children_child", "repository_id", "child"),
)

tags = Table(
    "tags",
    METADATA,
    Column("repository_id", Identity, ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True),
    Column("name", _TAG, primary_key=True),
    Column("digest", _DIGEST, nullable=False),
    Column("moved_at", Timestamp, nullable=False),
    Column("moved_by", String(255), nullable=False),
    ForeignKeyConstraint(
        ["repository_id", "digest"], ["manifests.repository_id", "manifests.digest"], ondelete="CASCADE"
    ),
    Index("ix_tags_digest", "repository_id", "digest"),
)

tag_moves = Table(
    "tag_moves",
    METADATA,
    Column("id", Identity, primary_key=True),
    Column("repository_id", Identity, ForeignKey("repositories.id", ondelete="CASCADE"), nullable=False),
    Column("tag", _TAG, nullable=False),
    Column("digest", _DIGEST),  # None: the tag was taken away
    Column("previous", _DIGEST),  # None: the tag was not there before
    Column("moved_at", Timestamp, nullable=False),
    Column("moved_by", String(255), nullable=False),
    Index("ix_tag_moves_tag", "repository_id", "tag", "id"),
)

tag_rules = Table(
    "tag_rules",
    METADATA,
    Column("repository_id", Identity, ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True),
    Column("pattern", String(255), primary_key=True),  # tags like this may be set once and not moved
)

uploads = Table(
    "uploads",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("repository", _NAME, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    # Set while the bytes are being turned into this blob: it may not be collected meanwhile.
    Column("digest", _DIGEST, index=True),
    Column("started_by", String(255), nullable=False),
    Column("started_at", Timestamp, nullable=False),
    Column("touched_at", Timestamp, nullable=False, index=True),
)

mirrored_manifests = Table(
    "mirrored_manifests",
    METADATA,
    Column("repository_id", Identity, primary_key=True),
    Column("digest", _DIGEST, primary_key=True),
    Column("used_at", Timestamp, nullable=False, index=True),
    ForeignKeyConstraint(
        ["repository_id", "digest"], ["manifests.repository_id", "manifests.digest"], ondelete="CASCADE"
    ),
)
