"""The tables of linked accounts.

    users ── linked_accounts ─┬─ forge_webhooks ── forge_deliveries
                          │       └──────── forge_refs           the last known commit of each branch and tag
                          └─ forge_statuses ── builds             the outbox of commit statuses

A webhook outlives its build configuration and repository: ``configuration_id`` NULL: remove it at the forge.
"""

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, String, Table, Text, UniqueConstraint

from hythe.database.tables.metadata import METADATA, Identity, Timestamp

linked_accounts = Table(
    "linked_accounts",
    METADATA,
    Column("id", Identity, primary_key=True),
    Column("user_id", Identity, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("kind", String(16), nullable=False),  # github, gitlab, ..
    Column("url", String(255), nullable=False),  # the forge's
    Column("account_id", String(100), nullable=False),  # at the forge
    Column("login", String(250), nullable=False),  # at the forge
    Column("scopes", Text, nullable=False),  # separated by spaces; empty if the forge does not report them
    Column("oauth", Boolean, nullable=False),  # false: the token was pasted
    Column("token", Text, nullable=False),  # sealed JSON: forges.oauth.ForgeToken
    Column("problem", Text, nullable=False),  # why the token no longer works; empty: it works
    Column("created_at", Timestamp, nullable=False),
    UniqueConstraint("user_id", "url", "account_id"),
)

forge_webhooks = Table(
    "forge_webhooks",
    METADATA,
    Column("id", String(32), primary_key=True),  # the last part of its URL; cannot be guessed
    Column("configuration_id", Identity, ForeignKey("build_configurations.id", ondelete="SET NULL"), unique=True),
    # NULL: the user pastes it at the forge
    Column("linked_account_id", Identity, ForeignKey("linked_accounts.id", ondelete="SET NULL"), index=True),
    Column("forge_repository", String(255), nullable=False),
    Column("hub_url", String(255), nullable=False),  # the hub's URL for the forge
    Column("secret", Text, nullable=False),  # sealed
    Column("remote_webhook_id", String(100), nullable=False),  # empty: the hub did not install it
    Column("public_key", Text, nullable=False),  # the deploy key; empty: none
    Column("remote_key_id", String(100), nullable=False),  # empty: the hub did not install it
    Column("problem", Text, nullable=False),  # why something could not be installed or removed
    Column("attempts", Integer, nullable=False),  # attempts to remove it
    Column("due_at", Timestamp),  # the next attempt to remove it
    Column("created_at", Timestamp, nullable=False),
)

forge_deliveries = Table(
    "forge_deliveries",
    METADATA,
    Column("id", Identity, primary_key=True),
    Column("forge_webhook_id", String(32), ForeignKey("forge_webhooks.id", ondelete="CASCADE"), nullable=False),
    Column("at", Timestamp, nullable=False),
    Column("address", String(64), nullable=False),
    Column("event", String(100), nullable=False),
    Column("delivery", String(200), nullable=False),  # its id at the forge
    Column("accepted_delivery", String(200)),  # the same id if it was accepted, which happens once; else NULL
    Column("outcome", String(16), nullable=False),
    Column("detail", Text, nullable=False),
    UniqueConstraint("forge_webhook_id", "accepted_delivery"),
    Index("ix_forge_deliveries_recent", "forge_webhook_id", "id"),
    Index("ix_forge_deliveries_at", "forge_webhook_id", "at"),
)
_rejected = forge_deliveries.c.accepted_delivery.is_(None)
Index(
    "ix_forge_deliveries_rejected",
    forge_deliveries.c.forge_webhook_id,
    forge_deliveries.c.id,
    sqlite_where=_rejected,
    postgresql_where=_rejected,
)

forge_refs = Table(
    "forge_refs",
    METADATA,
    Column("forge_webhook_id", String(32), ForeignKey("forge_webhooks.id", ondelete="CASCADE"), primary_key=True),
    Column("ref", String(260), primary_key=True),  # branch/NAME or tag/NAME
    Column("head", String(64), nullable=False),  # a commit; empty: deleted
    Column("seen", Text, nullable=False),  # JSON list of its commits so far, latest first
)

forge_statuses = Table(
    "forge_statuses",
    METADATA,
    Column("build_id", Identity, ForeignKey("builds.id", ondelete="CASCADE"), primary_key=True),
    Column(
        "linked_account_id", Identity, ForeignKey("linked_accounts.id", ondelete="CASCADE"), nullable=False, index=True
    ),
    Column("forge_repository", String(255), nullable=False),
    Column("status", Text, nullable=False),  # JSON: forges.port.CommitStatus
    Column("version", Integer, nullable=False),  # counts the statuses of the build
    Column("attempts", Integer, nullable=False),
    Column("due_at", Timestamp, index=True),  # NULL: sent, or given up
    Column("outcome", Text, nullable=False),
)
