"""The tables of keyless CI: rules that trust ID tokens, and the ID tokens that were exchanged."""

from sqlalchemy import Column, ForeignKey, Integer, String, Table, Text, UniqueConstraint

from hythe.database.tables.metadata import METADATA, Identity, Timestamp

trust_rules = Table(
    "trust_rules",
    METADATA,
    Column("id", Identity, primary_key=True),
    # The owner of the namespace: a user or an organization.
    Column("user_id", Identity, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(39), nullable=False),
    Column("issuer", String(255), nullable=False),
    Column("subject", String(255), nullable=False),  # a pattern
    Column("claims", Text, nullable=False),  # a JSON object of claims and the patterns of their values
    Column("permissions", String(200), nullable=False),  # hub.actor.Right, separated by spaces
    Column("limits", Text, nullable=False),  # patterns of repositories, separated by spaces
    Column("lifetime", Integer, nullable=False),  # seconds
    Column("created_at", Timestamp, nullable=False),
    Column("used_at", Timestamp),
    Column("used_from", String(45)),  # the address of the last use
    UniqueConstraint("user_id", "name"),
)

exchanged_id_tokens = Table(
    "exchanged_id_tokens",
    METADATA,
    # ID tokens that were exchanged, until they expire: each can be exchanged once.
    Column("digest", String(64), primary_key=True),
    Column("expires_at", Timestamp, nullable=False, index=True),
)
