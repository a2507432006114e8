"""The tables of notifications.

    repositories ── webhooks ── webhook_deliveries

A delivery is due when ``due_at`` has passed; a server claims it by moving ``due_at``, and sends it.
"""

from sqlalchemy import Column, ForeignKey, Index, Integer, String, Table, Text

from hythe.database.tables.metadata import METADATA, Identity, Timestamp

webhooks = Table(
    "webhooks",
    METADATA,
    Column("id", Identity, primary_key=True),
    Column("repository_id", Identity, ForeignKey("repositories.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("url", Text, nullable=False),
    Column("secret", Text, nullable=False),  # sealed; empty: not signed
    Column("events", String(100), nullable=False),  # values of EventKind, separated by spaces
    Column("created_at", Timestamp, nullable=False),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    METADATA,
    Column("id", String(36), primary_key=True),
    Column("webhook_id", Identity, ForeignKey("webhooks.id", ondelete="CASCADE"), nullable=False),
    Column("event_id", String(36), nullable=False, index=True),  # deliveries of one event share it
    Column("event", String(32), nullable=False),
    Column("body", Text, nullable=False),
    Column("callback", String(64), nullable=False, index=True),  # the secret part of its callback_url
    Column("callback_state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_at", Timestamp, index=True),  # NULL: delivered, or given up
    Column("status", Integer, nullable=False),  # HTTP status of the last response; 0: none
    Column("outcome", Text, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Index("ix_webhook_deliveries_recent", "webhook_id", "created_at"),
)
