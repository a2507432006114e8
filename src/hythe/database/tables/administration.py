"""The tables of administration: access of administrators, reports of abuse, and what is blocked.

What was taken down is marked in ``hub_repositories``.
"""

from sqlalchemy import Column, ForeignKey, Index, String, Table, Text

from hythe.database.tables.metadata import METADATA, Identity, Timestamp

administrator_access = Table(
    "administrator_access",
    METADATA,
    # An administrator may read a repository of others until then.
    Column("user_id", Identity, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column(
        "repository_id",
        Identity,
        ForeignKey("hub_repositories.repository_id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("until", Timestamp, nullable=False),
    Index("ix_administrator_access_repository_id", "repository_id"),
)

abuse_reports = Table(
    "abuse_reports",
    METADATA,
    Column("id", Identity, primary_key=True),
    Column("repository", String(255), nullable=False),  # the name at the time of the report, which outlives it
    Column("reporter", String(255), nullable=False),
    Column("category", String(20), nullable=False),  # a value of hub.abuse_reports.Category
    Column("text", Text, nullable=False),
    Column("state", String(16), nullable=False),  # open, resolved or dismissed
    Column("created_at", Timestamp, nullable=False),
    Column("note", Text, nullable=False),
    Column("closed_by", String(255), nullable=False),  # empty: it is open
    Column("closed_at", Timestamp),
    Index("ix_abuse_reports_state", "state", "id"),
    Index("ix_abuse_reports_reporter", "reporter", "created_at"),
)

blocked_names = Table(
    "blocked_names",
    METADATA,
    # Patterns that no new account, organization or repository may take.
    Column("pattern", String(100), primary_key=True),
    Column("like_pattern", String(200), nullable=False),
    Column("reason", String(500), nullable=False),
    Column("blocked_by", String(255), nullable=False),
    Column("blocked_at", Timestamp, nullable=False),
)

blocked_digests = Table(
    "blocked_digests",
    METADATA,
    # Manifests and blobs that cannot be pushed.
    # Compared with ``manifest_blobs.blob``: with another collation PostgreSQL would not use the index.
    Column("digest", String(140).with_variant(String(140, collation="C"), "postgresql"), primary_key=True),
    Column("reason", String(500), nullable=False),
    Column("blocked_by", String(255), nullable=False),
    Column("blocked_at", Timestamp, nullable=False),
)
