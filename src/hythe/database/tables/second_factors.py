"""Second factors of accounts. ``users.second_factor`` says for the check of a password which accounts have one."""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, String, Table, Text

from hythe.database.tables.metadata import METADATA, Identity, Timestamp

totp_secrets = Table(
    "totp_secrets",
    METADATA,
    # The account's authenticator app, from when a code of it has confirmed it.
    Column(
        "user_id",
        Identity,
        ForeignKey("users.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("secret", Text, nullable=False),  # sealed
    Column("last_step", BigInteger, nullable=False),  # the time step of the last accepted code: each works once
    Column("created_at", Timestamp, nullable=False),
)

recovery_codes = Table(
    "recovery_codes",
    METADATA,
    # The codes that were not used yet.
    Column("user_id", Identity, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("digest", String(64), primary_key=True),  # keyed, so that the database alone does not tell the codes
)

passkeys = Table(
    "passkeys",
    METADATA,
    Column("id", Identity, primary_key=True),
    Column("user_id", Identity, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("credential_id", String(1364), nullable=False, unique=True),  # base64url of up to 1023 bytes
    Column("user_handle", String(43), nullable=False),  # what authenticators call the account; the same for all of it
    Column("public_key", Text, nullable=False),  # base64url of a COSE key
    Column("sign_count", BigInteger, nullable=False),
    Column("transports", String(100), nullable=False),  # separated by spaces
    Column("name", String(100), nullable=False),
    Column("backed_up", Boolean, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("used_at", Timestamp),
)

spent_states = Table(
    "spent_states",
    METADATA,
    # Signed states of sign-ins, and challenges, that were used before they expired: each works once.
    Column("digest", String(64), primary_key=True),
    Column("expires_at", Timestamp, nullable=False, index=True),
)
