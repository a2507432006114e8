"""The hub's tables: accounts, namespaces, the index of repositories, and credentials.

Credentials are never stored themselves, only their SHA-256 (tokens are random, so a slow hash adds nothing) or argon2id
hash (passwords).
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    and_,
    false,
    literal_column,
    true,
)

from hythe.database.tables.metadata import METADATA, Identity, Timestamp

_VISIBILITY = String(7).with_variant(String(16), "postgresql")
"""SQLite does not enforce the length, which was widened for ``internal``."""


def _ordered(length: int) -> String:
    """Text sorted by its bytes, regardless of the database's locale."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


users = Table(
    "users",
    METADATA,
    Column("id", Identity, primary_key=True),
    Column("name", String(39), nullable=False, unique=True),
    # Lower case. An organization has none, and ``organization:HEX`` to keep the column unique.
    Column("email", String(254), nullable=False, unique=True),
    Column("password_hash", Text, nullable=False),  # empty: no password is right
    Column("admin", Boolean, nullable=False),
    Column("default_visibility", _VISIBILITY, nullable=False),  # of repositories that a push creates
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
    Column("email_confirmed_at", Timestamp),  # NULL: nothing shows that the user receives mail at this address
    # It has a factor in ``tables.second_factors``: its password alone does not sign in.
    Column("second_factor", Boolean, nullable=False, server_default=false()),
    Column("curator", Boolean, nullable=False, server_default=false()),  # may push top-level repositories
    Column("kind", String(16), nullable=False, server_default="user"),  # a value of hub.namespaces.AccountKind
    # Of an organization: the role of members on all its repositories (hub.roles; 0: none), and its rules.
    Column("member_role", Integer, nullable=False, server_default="0"),
    Column("members_create", Boolean, nullable=False, server_default=true()),  # else only owners create repositories
    Column("require_second_factor", Boolean, nullable=False, server_default=false()),
)

_deleted = users.c.deleted_at.is_not(None)
Index("ix_users_deleted_at", users.c.deleted_at, sqlite_where=_deleted, postgresql_where=_deleted)
_admin = users.c.admin.is_(True)
Index("ix_users_admins", users.c.id, sqlite_where=_admin, postgresql_where=_admin)
Index("ix_users_admin_name", users.c.name, sqlite_where=_admin, postgresql_where=_admin)
_curator = users.c.curator.is_(True)
Index("ix_users_curator_name", users.c.name, sqlite_where=_curator, postgresql_where=_curator)
Index("ix_users_kind", users.c.kind, users.c.name)

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

failed_logins = Table(
    "failed_logins",
    METADATA,
    # A fixed number of rows: each counts the failures of the account and network, or the network, that failed last.
    Column("bucket", Integer, primary_key=True, autoincrement=False),
    # A keyed hash, so that neither names nor networks can be read.
    Column("client", String(32), nullable=False),
    Column("failures", Integer, nullable=False),
    Column("at", Timestamp, nullable=False),
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
    # How often it was renamed on a day (counted from 1970, in UTC), which is limited; NULL: never.
    Column("renamed_on", Integer),
    Column("renames", Integer),
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
    Column("visibility", _VISIBILITY, nullable=False),
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
    # Taken down by an administrator: then it is private and in no list, and these say what it was before.
    Column("taken_down_at", Timestamp),
    Column("taken_down_reason", String(500)),
    Column("taken_down_visibility", String(16)),
    Column("taken_down_listed", Boolean),
    UniqueConstraint("namespace_id", "name"),
)
_taken_down = hub_repositories.c.taken_down_at.is_not(None)
Index(
    "ix_hub_repositories_taken_down",
    hub_repositories.c.taken_down_at,
    hub_repositories.c.repository_id,
    sqlite_where=_taken_down,
    postgresql_where=_taken_down,
)


def _partial_index(name: str, condition: ColumnElement[bool], *columns: str) -> None:
    Index(name, *(hub_repositories.c[each] for each in columns), sqlite_where=condition, postgresql_where=condition)


_partial_index("ix_hub_repositories_official", hub_repositories.c.official.is_(True), "name", "repository_id")

# A list of public repositories reads no private ones, and one of an account reads no others' private ones.
_public = and_(hub_repositories.c.listed, hub_repositories.c.visibility == literal_column("'public'"))
_CONDITION = ("listed", "visibility")  # SQLite reads the row if the index does not contain them
_partial_index("ix_hub_repositories_changed", hub_repositories.c.listed, "namespace_id", "updated_at", "name", "listed")
_partial_index("ix_hub_repositories_public_changed", _public, "namespace_id", "updated_at", "name", *_CONDITION)
_partial_index("ix_hub_repositories_public_created_at", _public, "created_at", "name", "namespace_id", *_CONDITION)
for _column in ("name", "stars", "pulls"):
    _partial_index(f"ix_hub_repositories_public_{_column}", _public, _column, "repository_id", *_CONDITION)
_internal = and_(hub_repositories.c.listed, hub_repositories.c.visibility == literal_column("'internal'"))
_partial_index("ix_hub_repositories_internal_changed", _internal, "namespace_id", "updated_at", "name", *_CONDITION)
_partial_index("ix_hub_repositories_internal_name", _internal, "name", "repository_id", *_CONDITION)
_private = hub_repositories.c.visibility == literal_column("'private'")
_partial_index("ix_hub_repositories_private", _private, "namespace_id", "updated_at", "name", *_CONDITION)

sessions = Table(
    "sessions",
    METADATA,
    Column("digest", String(64), primary_key=True),
    Column("user_id", Identity, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", Timestamp, nullable=False),
    Column("expires_at", Timestamp, nullable=False, index=True),
    Column("confirmed_at", Timestamp),  # when the user last gave a factor again; NULL: only when it began
    Column("public_id", String(16)),  # in lists and addresses; NULL: an older version started it
    Column("used_at", Timestamp),  # coarse; NULL: not used since an upgrade
    Column("network", String(43)),  # where it was used last
    Column("user_agent", String(300)),
    Index("ix_sessions_public_id", "public_id", unique=True),
    Index("ix_sessions_user_id_started", "user_id", "created_at", "public_id"),
)

personal_tokens = Table(
    "personal_tokens",
    METADATA,
    Column("id", Identity, primary_key=True),
    Column("user_id", Identity, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("name", String(100), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    # For servers of older versions, which know no limits: what such a server may allow, mostly nothing.
    Column("rights", String(200), nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("expires_at", Timestamp),
    Column("used_at", Timestamp),
    Column("used_from", String(45)),  # the address of the last use
    Column("kind", String(16), nullable=False, server_default="personal"),  # hub.personal_token.TokenKind
    Column("permissions", String(200)),  # hub.actor.Right, separated by spaces; NULL: ``rights`` of an older version
    Column("limits", Text),  # patterns of repositories, separated by spaces; NULL: all
    Column("previous_digest", String(64)),  # of the secret before a rotation
    Column("previous_expires_at", Timestamp),
    Column("rule_id", Identity),  # the trust rule that this token came from; its rows end with the rule
    Column("subject", String(255)),  # of the ID token that was exchanged
)
Index("ix_personal_tokens_previous_digest", personal_tokens.c.previous_digest, unique=True)
_named = personal_tokens.c.kind == literal_column("'robot'")
Index(
    "ix_personal_tokens_robot",
    personal_tokens.c.user_id,
    personal_tokens.c.name,
    unique=True,
    sqlite_where=_named,
    postgresql_where=_named,
)
_of_rule = personal_tokens.c.rule_id.is_not(None)
for _column in ("rule_id", "expires_at"):
    Index(
        f"ix_personal_tokens_{_column}",
        personal_tokens.c[_column],
        sqlite_where=_of_rule,
        postgresql_where=_of_rule,
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
    Column("expires_at", Timestamp, nullable=False, index=True),
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

search_postings = Table(
    "search_postings",
    METADATA,
    # Each word of each repository that lists show, and the empty word. Triggers keep them (migration 0033).
    # 0: public, -1: internal; else the namespace of a private one.
    Column("audience", Identity, primary_key=True, autoincrement=False),
    Column("word", _ordered(64), primary_key=True),
    Column("rank", Integer, primary_key=True, autoincrement=False),  # the best first: text, official, stars and pulls
    Column(
        "repository_id",
        Identity,
        ForeignKey("hub_repositories.repository_id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Index("ix_search_postings_repository", "repository_id", "word"),
    sqlite_with_rowid=False,
)

search_term_forms = Table(
    "search_term_forms",
    METADATA,
    # By which parts and misspellings to find the words in names of public and internal repositories. Words stay.
    Column("kind", _ordered(16), primary_key=True),  # s: the end of the word; d: the word without one letter
    Column("form", _ordered(64), primary_key=True),
    Column("term", _ordered(64), primary_key=True),
    sqlite_with_rowid=False,
)
