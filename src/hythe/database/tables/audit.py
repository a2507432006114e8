"""The audit log: who changed what, from where and with which credential.

Triggers refuse changes, and deletions of entries that are younger than ``audit_expiry`` says, which the setting
``audit_retention`` decides.

Entries have names, because they outlive what they are about, and are about the names of their time. Only a namespace
has an id as well: its owners see its entries under all its names.
"""

from sqlalchemy import Column, Index, Integer, String, Table, Text

from hythe.database.tables.metadata import METADATA, Identity, Timestamp

audit_entries = Table(
    "audit_entries",
    METADATA,
    Column("id", Identity, primary_key=True),
    Column("at", Timestamp, nullable=False),
    Column("actor", String(255), nullable=False),
    Column("credential", String(160), nullable=False),  # such as "session" or "personal token ci"
    Column("address", String(64), nullable=False),  # the client's; empty: the command line, or the hub itself
    Column("action", String(64), nullable=False),  # a value of hub.access.actions.HubAction
    Column("namespace", String(39), nullable=False),  # whose owners may read the entry; empty: only administrators
    Column("target", String(300), nullable=False),  # such as ann/web, ann/web:1.0 or the name of an account
    Column("detail", Text, nullable=False),  # a JSON object
    # That of ``namespace`` at that time; NULL: none. The namespace may have been deleted, and its id reused.
    Column("namespace_id", Identity),
    Column("subject", String(300)),  # ``target`` without what follows a repository's name: ann/web for ann/web:1.0
    Index("ix_audit_entries_at", "at", "id"),
    Index("ix_audit_entries_namespace", "namespace", "id"),
    Index("ix_audit_entries_actor", "actor", "id"),
    Index("ix_audit_entries_namespace_id", "namespace_id", "id"),
    Index("ix_audit_entries_namespace_action", "namespace_id", "action", "id"),
    Index("ix_audit_entries_action", "action", "id"),
    Index("ix_audit_entries_subject", "subject", "id"),
)

audit_expiry = Table(
    "audit_expiry",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),  # 1
    Column("expired_before", Timestamp, nullable=False),  # older entries may be deleted
)
