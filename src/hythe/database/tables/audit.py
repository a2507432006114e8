"""The audit log: who changed what, from where and with which credential. A trigger refuses changes; rows are deleted
when the setting ``audit_retention`` says so.

Names and not ids: entries outlive what they are about, and are about the names of their time.
"""

from sqlalchemy import Column, Index, String, Table, Text

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
    Index("ix_audit_entries_at", "at", "id"),
    Index("ix_audit_entries_namespace", "namespace", "id"),
    Index("ix_audit_entries_actor", "actor", "id"),
)
