"""The hub's tables: accounts, namespaces, the index of repositories, and credentials.

Credentials are never stored themselves, only their SHA-256 (tokens are random, so a slow hash adds nothing) or argon2id
hash (passwords).
"""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, String, Table, Text, UniqueConstraint

from hythe.database.tables.metadata import METADATA, Identity, Timestamp

users = Table(
    "users",
    METADATA,
    Column("id", Identity, primary_key=True),
    Column("name", String(39), nullable=False, unique=True),
    Column("email", String(254), nullable=False, unique=True),  # lower case
    Column("password_hash", Text, nullable=False),
    Column("admin", Boolean, nullable=False),
    Column("default_visibility", String(7), nullable=False),  # of repositories that a push creates
    # The account's plan (``hub.plan``); NULL: unlimited.
    Column("private_limit", Integer),
    Column("repository_limit", Integer),
    Column("storage_limit", BigInteger),  # bytes
    Column("upload_limit", Integer, server_default="100"),
    Column("build_limit", Integer),  # minutes
    Column("created_at", Timestamp, nullable=False),
    Column("blocked_at", Timestamp),  # NULL: not blocked
    Column("deleted_at", Timestamp),  # set while its repositories are being deleted, after which the row goes
    Column("credential_generation", BigInteger, nullable=False, server_default="0"),  # access tokens of older ones end
)

_deleted = users.c.deleted_at.is_not(None)
Index("ix_users_deleted_at", users.c.deleted_at, sqlite_where=_deleted, postgresql_where=_deleted)

reserved_names = Table(
    "reserved_names",
    METADATA,
    # Names of deleted accounts: a stranger who takes one would receive the pulls of the old images.
    Column("name", String(39), primary_key=True),
    Column("reserved_at", Timestamp, nullable=False),
)

sign_ups = Table(
    "sign_ups",
    METADATA,
    # How many accounts a network created within a day. Older rows are deleted at the next sign-up.
    Column("network", String(43), primary_key=True),  # an IPv4 address, or the /64 network of an IPv6 address
    Column("accounts", Integer, nullable=False),
    Column("since", Timestamp, nullable=False, index=True),
)

sign_in_failures = Table(
    "sign_in_failures",
    METADATA,
    # A fixed number of rows, however many names clients try: a row counts all names with the same hash.
    Column("bucket", Integer, primary_key=True, autoincrement=False),
    Column("failures", Integer, nullable=False),
    Column("last_at", Timestamp, nullable=False),
)

known_networks = Table(
    "known_networks",
    METADATA,
    # Where an account signed in from with its password: guesses from elsewhere do not slow it down there.
    Column("user_id", Identity, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("network", String(43), primary_key=True),
    Column("used_at", Timestamp, nullable=False),
)

namespaces = Table(
    "namespaces",
    METADATA,
    Column("id", Identity, primary_key=True),
    Column("name", String(39), nullable=False, unique=True),
    Column("kind", String(16), nullable=False),  # user; curated: ``library``, where administrators push
    Column("user_id", Identity, ForeignKey("users.id", ondelete="CASCADE"), index=True),
)

hub_repositories = Table(
    "hub_repositories",
    METADATA,
    Column(
        "repository_id",
        Identity,
        ForeignKey("repositories.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("namespace_id", Identity, ForeignKey("namespaces.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(255), nullable=False),  # without the namespace
    Column("visibility", String(7), nullable=False),
    Column("official", Boolean, nullable=False),
    Column("listed", Boolean, nullable=False),  # in lists and search: created by a user, or pushed to at least once
    Column("description", String(100), nullable=False),
    Column("full_description", Text, nullable=False),  # Markdown
    Column("description_html", Text),  # NULL: not rendered yet, or beyond a bound
    Column("description_rendering", String(80)),  # which text the HTML is of, and what rendered it
    Column("stars", Integer, nullable=False),
    Column("pulls", Identity, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Column("pushed_at", Timestamp),  # NULL: nothing was pushed yet
    UniqueConstraint("namespace_id", "name"),
    Index("ix_hub_repositories_name", "name"),
    Index("ix_hub_repositories_created_at", "created_at"),
    Index("ix_hub_repositories_stars", "stars"),
    Index("ix_hub_repositories_pulls", "pulls"),
)

sessions = Table(
    "sessions",
    METADATA,
    Column("digest", String(64), primary_key=True),
    Column("user_id", Identity, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", Timestamp, nullable=False),
    Column("expires_at", Timestamp, nullable=False),
)

personal_tokens = Table(
    "personal_tokens",
    METADATA,
    Column("id", Identity, primary_key=True),
    Column("user_id", Identity, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("name", String(100), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("rights", String(200), nullable=False),  # values of ``hub.actor.Right``, separated by spaces
    Column("created_at", Timestamp, nullable=False),
    Column("expires_at", Timestamp),
    Column("used_at", Timestamp),
)

refresh_tokens = Table(
    "refresh_tokens",
    METADATA,
    Column("digest", String(64), primary_key=True),
    Column("user_id", Identity, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("personal_token_id", Identity, ForeignKey("personal_tokens.id", ondelete="CASCADE"), index=True),
    Column("rights", String(200), nullable=False),
    Column("client", String(100), nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("expires_at", Timestamp, nullable=False),
)

signing_keys = Table(
    "signing_keys",
    METADATA,
    Column("id", String(43), primary_key=True),  # the RFC 7638 thumbprint
    Column("private_key", Text, nullable=False),  # sealed JWK; empty: erased, because it signs no more
    Column("created_at", Timestamp, nullable=False),
    Column("retired_at", Timestamp),  # a newer key signs; it still verifies what it signed
    Column("purpose", String(16)),  # hub.keys.Purpose; NULL: both, as older versions made them
    Column("public_key", Text),  # JWK; NULL: an older version made the key, and it is part of the private one
)

search_documents = Table(
    "search_documents",
    METADATA,
    # The documents of full-text search, one row for each listed repository. Triggers update SQLite's index; PostgreSQL
    # has expression indexes (migration 0002).
    Column(
        "repository_id",
        Identity,
        ForeignKey("hub_repositories.repository_id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("name", String(295), nullable=False),  # NAMESPACE/NAME
    Column("description", Text, nullable=False),
)
