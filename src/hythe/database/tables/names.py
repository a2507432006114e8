"""The tables of former names, and of transfers that wait for their receiver.

    namespaces ─┬─ former_namespaces       names that the account had
                ├─ former_repositories     names in the namespace that repositories had, wherever they are now
                └─ transfers               repositories offered to the account of the namespace

A former name belongs to the namespace and not to its name, so that it follows the next rename of the account.
"""

from sqlalchemy import Column, ForeignKey, Index, String, Table

from hythe.database.tables.metadata import METADATA, Identity, Timestamp

_NAMESPACE = "namespaces.id"
_REPOSITORY = "hub_repositories.repository_id"

former_namespaces = Table(
    "former_namespaces",
    METADATA,
    Column("name", String(39), primary_key=True),
    Column("namespace_id", Identity, ForeignKey(_NAMESPACE, ondelete="CASCADE"), nullable=False, index=True),
    Column("since", Timestamp, nullable=False),
    Column("renamed_by", String(255), nullable=False),
    # NULL while search documents and finished builds still have the name; the rest was renamed in one transaction.
    Column("followed_at", Timestamp),
)
_unfollowed = former_namespaces.c.followed_at.is_(None)
Index(
    "ix_former_namespaces_unfollowed",
    former_namespaces.c.name,
    sqlite_where=_unfollowed,
    postgresql_where=_unfollowed,
)

former_repositories = Table(
    "former_repositories",
    METADATA,
    Column("namespace_id", Identity, ForeignKey(_NAMESPACE, ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("name", String(255), primary_key=True),  # without the namespace
    Column("repository_id", Identity, ForeignKey(_REPOSITORY, ondelete="CASCADE"), nullable=False, index=True),
    Column("since", Timestamp, nullable=False),
    Column("renamed_by", String(255), nullable=False),
)

transfers = Table(
    "transfers",
    METADATA,
    Column(
        "repository_id", Identity, ForeignKey(_REPOSITORY, ondelete="CASCADE"), primary_key=True, autoincrement=False
    ),
    Column("namespace_id", Identity, ForeignKey(_NAMESPACE, ondelete="CASCADE"), nullable=False),  # the receiver
    Column("name", String(255), nullable=False),  # in the receiver's namespace
    Column("requested_by", String(255), nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("expires_at", Timestamp, nullable=False, index=True),
    Index("ix_transfers_namespace", "namespace_id", "repository_id"),
)
