"""The tables of linked accounts.

    users ── linked_accounts ─┬─ forge_webhooks ── forge_deliveries
                          │       └──────── forge_refs           where each branch and tag was seen last
                          └─ forge_statuses ── builds             the outbox of commit statuses

A webhook outlives its set-up and repository: ``configuration_id`` NULL means that it is to be removed at the forge.
"""

from sqlalchemy import Boolean, Column, ForeignKey, Integer, String, Table, Text, UniqueConstraint

from hythe.database.tables.metadata import METADATA, Identity, Timestamp

linked_accounts = Table(
    "linked_accounts",
    METADATA,
    Column("id", Identity, primary_key=True),
    Column("user_id", Identity, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("kind", String(16), nullable=False),  # github, gitlab, ..
    Column("url", String(255), nullable=False),  # of the forge
    Column("account_id", String(100), nullable=False),  # there
    Column("login", String(250), nullable=False),  # there
    Column("scopes", Text, nullable=False),  # parted by spaces, as far as the forge says them
    Column("oauth", Boolean, nullable=False),  # false: the token was pasted
    Column("token", Text, nullable=False),  # sealed JSON: forges.oauth.ForgeToken
    Column("problem", Text, nullable=False),  # why it does not work any more; empty: it does
    Column("created_at", Timestamp, nullable=False),
    UniqueConstraint("user_id", "url", "account_id"),
)

forge_webhooks = Table(
    "forge_webhooks",
    METADATA,
    Column("id", String(32), primary_key=True),  # the secret part of its address here
    Column("configuration_id", Identity, ForeignKey("build_configurations.id", ondelete="SET NULL"), unique=True),
    Column(
        "linked_account_id", Identity, ForeignKey("linked_accounts.id", ondelete="SET NULL"), index=True
    ),  # NULL: pasted
    Column("forge_repository", String(255), nullable=False),
    Column("hub_url", String(255), nullable=False),  # how the forge reaches us
    Column("secret", Text, nullable=False),  # sealed
    Column("remote_webhook_id", String(100), nullable=False),  # at the forge; empty: not installed by us
    Column("public_key", Text, nullable=False),  # the deploy key; empty: none
    Column("remote_key_id", String(100), nullable=False),  # at the forge; empty: not installed by us
    Column("problem", Text, nullable=False),  # why something could not be installed or removed
    Column("attempts", Integer, nullable=False),  # to remove it
    Column("due_at", Timestamp),  # when to try that again
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
    Column(
        "accepted_delivery", String(200)
    ),  # the same when it was signed: such a delivery is taken once; NULL: refused
    Column("outcome", String(16), nullable=False),
    Column("detail", Text, nullable=False),
    UniqueConstraint("forge_webhook_id", "accepted_delivery"),
)

forge_refs = Table(
    "forge_refs",
    METADATA,
    Column("forge_webhook_id", String(32), ForeignKey("forge_webhooks.id", ondelete="CASCADE"), primary_key=True),
    Column("ref", String(260), primary_key=True),  # branch/NAME or tag/NAME
    Column("head", String(64), nullable=False),
    Column("seen", Text, nullable=False),  # JSON list of commits that it was at, the latest first
)

forge_statuses = Table(
    "forge_statuses",
    METADATA,
    Column("build_id", Identity, ForeignKey("builds.id", ondelete="CASCADE"), primary_key=True),
    Column(
        "linked_account_id", Identity, ForeignKey("linked_accounts.id", ondelete="CASCADE"), nullable=False, index=True
    ),
    Column("forge_repository", String(255), nullable=False),
    Column("status", Text, nullable=False),  # JSON: builds.forges.port.CommitStatus
    Column("version", Integer, nullable=False),  # counts what was to be said
    Column("attempts", Integer, nullable=False),
    Column("due_at", Timestamp, index=True),  # NULL: said, or given up
    Column("outcome", Text, nullable=False),
)
