"""The registry's tables.

    repositories ─┬─ manifests ─┬─ manifest_blobs ──── repository_blobs
                  │             ├─ manifest_children
                  │             └─ mirrored_manifests (fetched from an upstream)
                  ├─ unmarked_dependents
                  ├─ tags (each refers to a manifest), tag_moves (their history), tag_rules
                  └─ repository_blobs ──── blobs
    uploads (refer to their repository by name: it may not exist yet)
    namespace_usage, namespace_blobs (what each namespace stores; triggers keep them, see migration 0008)
    installation (one row: what is the same for all servers)
    garbage_collections (the last runs), garbage_holds (what keeps them from deleting blobs)

Unreferenced content has ``free_after``: the time from which garbage collection checks whether it is still unreferenced,
and deletes it. Digests are stored in their text form, ``algorithm:hex``.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    text,
)

from hythe.database.tables.metadata import METADATA, Identity, Timestamp


def _ordered(length: int) -> String:
    """Text sorted by its bytes, regardless of the database's locale."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


def _marked_index(name: str, *columns: "Column[Any]") -> None:
    """Index the rows whose first column is set, which are few: the cost of finding them depends only on their number.

    The other columns are the table's key, so that pages continue at a row.
    """
    marked = columns[0].is_not(None)
    Index(name, *columns, sqlite_where=marked, postgresql_where=marked)


_NAME = _ordered(255)
_TAG = _ordered(128)
_DIGEST = _ordered(140)


repositories = Table(
    "repositories",
    METADATA,
    Column("id", Identity, primary_key=True),
    Column("name", _NAME, nullable=False, unique=True),
    Column("created_at", Timestamp, nullable=False),
    # Set when it was deleted: it has another name, which no request can have, until its content is deleted, too.
    Column("deleted_at", Timestamp),
)
_deleted = repositories.c.deleted_at.is_not(None)
Index("ix_repositories_deleted_at", repositories.c.deleted_at, sqlite_where=_deleted, postgresql_where=_deleted)

# The repositories of the catalog: those that contain a manifest. Triggers keep them (migration 0013).
catalog_entries = Table(
    "catalog_entries",
    METADATA,
    Column(
        "repository_id",
        Identity,
        ForeignKey("repositories.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("name", _NAME, nullable=False),
    Column("audience", String(30), nullable=False),  # in the hub: "public", or "namespace ID"; else empty
    Index("ix_catalog_entries_name", "name", unique=True),
    Index("ix_catalog_entries_audience", "audience", "name"),
)

blobs = Table(
    "blobs",
    METADATA,
    Column("digest", _DIGEST, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("stored_at", Timestamp, nullable=False),
    Column("free_after", Timestamp),
    # Set while its bytes are being deleted: from then on it cannot be linked.
    Column("deleting_since", Timestamp),
    # Set when it was found damaged: it is not served until it is pushed again.
    Column("quarantined_at", Timestamp),
)
_marked_index("ix_blobs_due", blobs.c.free_after, blobs.c.digest)
_marked_index("ix_blobs_deleting_since", blobs.c.deleting_since, blobs.c.digest)

repository_blobs = Table(
    "repository_blobs",
    METADATA,
    Column("repository_id", Identity, ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", _DIGEST, ForeignKey("blobs.digest"), primary_key=True, index=True),
    Column("linked_at", Timestamp, nullable=False),
    Column("free_after", Timestamp),
)
_marked_index(
    "ix_repository_blobs_due",
    repository_blobs.c.free_after,
    repository_blobs.c.repository_id,
    repository_blobs.c.digest,
)

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
    # Levels of indexes: 0 for images, 1 for an index of images.
    Column("index_depth", Integer, nullable=False, server_default="0"),
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
Index("ix_manifests_digest", manifests.c.digest, manifests.c.repository_id)  # the repositories with a manifest
_marked_index("ix_manifests_due", manifests.c.free_after, manifests.c.repository_id, manifests.c.digest)
Index(
    "ix_manifests_subject_type",
    manifests.c.repository_id,
    manifests.c.subject,
    text("substr(artifact_type, 1, 200)"),  # types may be as long as a manifest, and keys of indexes may not
    manifests.c.digest,
    sqlite_where=manifests.c.subject.is_not(None),
    postgresql_where=manifests.c.subject.is_not(None),
)

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

# Manifests that were deleted or untagged, and have so many dependents that these are marked later, in steps.
unmarked_dependents = Table(
    "unmarked_dependents",
    METADATA,
    Column("repository_id", Identity, ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True),
    Column("manifest", _DIGEST, primary_key=True),
    Column("free_after", Timestamp, nullable=False),
    Column("listed", Text),  # its blobs and manifests, sorted, separated by spaces; None: its referrers are next
    Column("marked_to", _DIGEST, nullable=False),  # the last one that was marked; empty: none yet
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

OF_IMAGES = "(name < 'sha256-' OR name >= 'sha256.' OR length(name) < 71)"
"""Tags that users set, without those of cosign and of the referrers fallback: ``sha256-HEX[.att]``."""
Index(
    "ix_tags_moved",
    tags.c.repository_id,
    tags.c.moved_at,
    tags.c.name,
    sqlite_where=text(OF_IMAGES),
    postgresql_where=text(OF_IMAGES),
)

tag_moves = Table(
    "tag_moves",
    METADATA,
    Column("id", Identity, primary_key=True),
    Column("repository_id", Identity, ForeignKey("repositories.id", ondelete="CASCADE"), nullable=False),
    Column("tag", _TAG, nullable=False),
    Column("digest", _DIGEST),  # None: the tag was deleted
    Column("previous", _DIGEST),  # None: the tag was created
    Column("moved_at", Timestamp, nullable=False),
    Column("moved_by", String(255), nullable=False),
    Index("ix_tag_moves_tag", "repository_id", "tag", "id"),
    Index("ix_tag_moves_digest", "repository_id", "tag", "digest"),
)

tag_rules = Table(
    "tag_rules",
    METADATA,
    Column("repository_id", Identity, ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True),
    Column("pattern", String(255), primary_key=True),  # matching tags are immutable: they can be set only once
)

uploads = Table(
    "uploads",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("repository", _NAME, nullable=False, index=True),
    Column("offset", BigInteger, nullable=False),
    # How many bytes the session may have by the end of its current request, where its namespace has a limit.
    Column("reserved", BigInteger, nullable=False, server_default="0"),
    Column("state", Text, nullable=False),
    # Set while the bytes are becoming this blob, which protects it from garbage collection.
    Column("digest", _DIGEST, index=True),
    Column("started_by", String(255), nullable=False),
    Column("started_at", Timestamp, nullable=False),
    Column("touched_at", Timestamp, nullable=False, index=True),
)

# A namespace is the first component of the names of its repositories.
namespace_usage = Table(
    "namespace_usage",
    METADATA,
    Column("namespace", _NAME, primary_key=True),
    Column("bytes", BigInteger, nullable=False),  # of its distinct blobs, and of the manifests in each repository
    Column("repositories", Integer, nullable=False),
)

namespace_blobs = Table(
    "namespace_blobs",
    METADATA,
    Column("namespace", _NAME, primary_key=True),
    Column("digest", _DIGEST, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("repositories", Integer, nullable=False),  # how many of the namespace contain the blob
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

# One row, which the first start writes: what all servers of an installation share.
installation = Table(
    "installation",
    METADATA,
    Column("number", Integer, primary_key=True),  # always 1
    Column("id", String(32), nullable=False),
    Column("kind", String(16)),  # hub or registry; None: an older version's, until the next start
    Column("created_at", Timestamp, nullable=False),
    Column("blob_store", String(80)),  # the marker in the blob store
    Column("key_fingerprint", String(64)),  # of the key that seals secrets
)

garbage_collections = Table(
    "garbage_collections",
    METADATA,
    Column("id", Identity, primary_key=True),
    Column("started_at", Timestamp, nullable=False),
    Column("finished_at", Timestamp, nullable=False),
    Column("started_by", String(255), nullable=False),  # empty: the server, as it does periodically
    Column("manifests", Integer, nullable=False),
    Column("blobs", Integer, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("uploads", Integer, nullable=False),
    Column("failure", String(500), nullable=False),  # empty: it succeeded
    Column("idle", Boolean, nullable=False),  # it succeeded, and found nothing to delete
)
_idle = garbage_collections.c.idle.is_(True)
Index("ix_garbage_collections_idle", garbage_collections.c.id, sqlite_where=_idle, postgresql_where=_idle)

garbage_holds = Table(
    "garbage_holds",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("reason", String(255), nullable=False),
    Column("taken_at", Timestamp, nullable=False),
    Column("expires_at", Timestamp, nullable=False, index=True),
)
