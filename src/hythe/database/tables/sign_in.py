"""The tables of sign-in: e-mail that waits for delivery, the links in it, and requests to reset a password.

    users ── mail_links
      └───── mail_messages

A message is due when ``due_at`` has passed; a server claims it by moving ``due_at``, and sends it.
"""

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, String, Table, Text

from hythe.database.tables.metadata import METADATA, Identity, Timestamp

mail_messages = Table(
    "mail_messages",
    METADATA,
    Column("id", Identity, primary_key=True),
    Column("user_id", Identity, ForeignKey("users.id", ondelete="CASCADE"), index=True),
    Column("purpose", String(32), nullable=False),  # a value of hub.mail.Purpose
    Column("recipient", String(254), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("text", Text, nullable=False),  # empty: erased after delivery, because it had a secret
    Column("secret", Boolean, nullable=False),  # the text contains a link that replaces a password
    Column("created_at", Timestamp, nullable=False),
    Column("expires_at", Timestamp, nullable=False),  # not sent after this time
    Column("attempts", Integer, nullable=False),
    Column("due_at", Timestamp, index=True),  # NULL: delivered, or given up
    Column("sent_at", Timestamp),  # NULL: not delivered
    Column("outcome", String(500), nullable=False),  # of the last attempt
    Index("ix_mail_messages_created_at_id", "created_at", "id"),
)

mail_links = Table(
    "mail_links",
    METADATA,
    Column("digest", String(64), primary_key=True),  # SHA-256 of the secret in the link
    Column("user_id", Identity, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("purpose", String(16), nullable=False),  # a value of hub.mail_links.LinkPurpose
    Column("email", String(254), nullable=False, index=True),  # the address that it confirms, or restores; lower case
    Column("created_at", Timestamp, nullable=False),
    Column("expires_at", Timestamp, nullable=False, index=True),
    Index("ix_mail_links_user_id_purpose_created_at", "user_id", "purpose", "created_at"),
)

password_reset_requests = Table(
    "password_reset_requests",
    METADATA,
    # What clients typed, whether such an account exists or not: a server looks later, so that no response tells.
    Column("id", Identity, primary_key=True),
    Column("name", String(254), nullable=False),  # a user name or an e-mail address
    Column("created_at", Timestamp, nullable=False),
)
