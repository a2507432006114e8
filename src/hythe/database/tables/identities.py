"""Identities: users of other systems (OpenID Connect providers, GitHub, LDAP) and their accounts here."""

from sqlalchemy import Boolean, Column, ForeignKey, String, Table, UniqueConstraint, false

from hythe.database.tables.metadata import METADATA, Identity, Timestamp

identities = Table(
    "identities",
    METADATA,
    Column("id", Identity, primary_key=True),
    # The issuer and not the name in the settings: under another issuer, the same subject is another user.
    Column("issuer", String(255), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("user_id", Identity, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("email", String(254), nullable=False),  # as the provider last said; empty: none
    Column("created_at", Timestamp, nullable=False),
    Column("signed_in_at", Timestamp),  # NULL: linked, but not used yet
    # The account is an administrator because of a group, and no longer when the user leaves the group.
    Column("made_admin", Boolean, nullable=False, server_default=false()),
    UniqueConstraint("issuer", "subject"),
)
