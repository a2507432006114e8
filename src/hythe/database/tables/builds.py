"""The tables of Trusted Builds.

    repositories ── build_configurations ─┬─ build_rules
                                          ├─ build_secrets          sealed with the installation's key
                                          ├─ build_trigger_calls    the last calls of the trigger URL
                                          ├─ build_base_images      base images, with the digest last seen
                                          └─ builds ── build_log    chunks while it runs, then one compressed chunk
    build_usage                                                     seconds of builds by account and day
    build_workers                                                   workers, as they described themselves

The queue is the rows of ``builds`` that are ``queued``, or ``running`` with an expired lease. ``fence`` counts how
often a build was claimed: requests of a worker are valid only while its fence is the row's.
"""

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, LargeBinary, String, Table, Text, UniqueConstraint

from hythe.database.tables.metadata import METADATA, Identity, Timestamp

_CONFIGURATION = "build_configurations.id"

build_configurations = Table(
    "build_configurations",
    METADATA,
    Column("id", Identity, primary_key=True),
    Column("repository_id", Identity, ForeignKey("repositories.id", ondelete="CASCADE"), nullable=False, unique=True),
    Column("account", String(39), nullable=False, index=True),  # the namespace; accounts take turns in the queue
    Column("source_url", Text, nullable=False),
    Column("forge", String(16), nullable=False),  # github, gitlab, .. or git
    Column("forge_repository", String(255), nullable=False),  # OWNER/NAME at the forge
    Column("linked_account_id", Identity, index=True),  # NULL: a public source
    Column("default_branch", String(250), nullable=False),
    Column("credentials", Text),  # sealed: a deploy key, or USER:PASSWORD
    Column("active", Boolean, nullable=False),
    Column("trigger_token", Text, nullable=False),  # sealed
    Column("options", Text, nullable=False),  # JSON: builds.configuration.Options
    Column("failing", Boolean, nullable=False),  # the last build failed
    Column("schedule_due", Timestamp, index=True),
    Column("created_at", Timestamp, nullable=False),
    Column("created_by", String(39), nullable=False),
    Index("ix_build_configurations_forge", "forge", "forge_repository"),
)

build_rules = Table(
    "build_rules",
    METADATA,
    Column("id", Identity, primary_key=True),
    Column("configuration_id", Identity, ForeignKey(_CONFIGURATION, ondelete="CASCADE"), nullable=False, index=True),
    Column("position", Integer, nullable=False),
    Column("rule", Text, nullable=False),  # JSON: builds.rules.Rule
)

build_secrets = Table(
    "build_secrets",
    METADATA,
    Column("configuration_id", Identity, ForeignKey(_CONFIGURATION, ondelete="CASCADE"), primary_key=True),
    Column("name", String(100), primary_key=True),
    Column("sealed", Text, nullable=False),
)

build_trigger_calls = Table(
    "build_trigger_calls",
    METADATA,
    Column("id", Identity, primary_key=True),
    Column("configuration_id", Identity, ForeignKey(_CONFIGURATION, ondelete="CASCADE"), nullable=False, index=True),
    Column("at", Timestamp, nullable=False),
    Column("address", String(64), nullable=False),
    Column("outcome", Text, nullable=False),
)

build_base_images = Table(
    "build_base_images",
    METADATA,
    Column("configuration_id", Identity, ForeignKey(_CONFIGURATION, ondelete="CASCADE"), primary_key=True),
    Column("reference", String(400), primary_key=True, index=True),
    Column("digest", String(140), nullable=False),
    Column("checked_at", Timestamp, nullable=False, index=True),
)

builds = Table(
    "builds",
    METADATA,
    Column("id", Identity, primary_key=True),
    Column("configuration_id", Identity, ForeignKey(_CONFIGURATION, ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),  # from 1 in each build configuration
    Column("account", String(39), nullable=False),
    Column("concurrency_key", String(300), nullable=False),  # rule and ref: its builds run one at a time
    Column("status", String(16), nullable=False),
    Column("source_type", String(8), nullable=False),
    Column("source_name", String(250), nullable=False),
    Column("commit", String(64), nullable=False),
    Column("message", Text, nullable=False),
    Column("author", String(250), nullable=False),
    Column("cause", String(16), nullable=False),
    Column("started_by", String(250), nullable=False),
    Column("rule", Text, nullable=False),  # JSON, as it was when the build was queued
    Column("rule_id", Identity, nullable=False),
    Column("tags", Text, nullable=False),  # JSON list
    Column("trusted", Boolean, nullable=False),  # false: from a fork, without secrets and push
    Column("reproduces", Identity),  # the build whose image this one should reproduce
    Column("request_id", String(64), nullable=False, server_default=""),  # of the request that started it
    Column("trace_parent", String(64), nullable=False, server_default=""),  # of the trace of that request
    Column("created_at", Timestamp, nullable=False),
    Column("started_at", Timestamp),
    Column("finished_at", Timestamp),
    Column("fence", Integer, nullable=False),
    Column("key_digest", String(64), nullable=False),  # SHA-256 of the key that authenticates its worker
    Column("worker", String(100), nullable=False),
    Column("lease_until", Timestamp),
    Column("cancelled_by", String(250), nullable=False),  # empty: not cancelled
    Column("reason", Text, nullable=False),  # why it failed
    Column("steps", Text, nullable=False),  # JSON list of builds.build.Step
    Column("digest", String(140), nullable=False),
    Column("result", Text, nullable=False),  # JSON: builds.build.Result
    Column("log_size", Integer, nullable=False),
    UniqueConstraint("configuration_id", "number"),
    Index("ix_builds_configuration_id", "configuration_id", "id"),
    Index("ix_builds_status", "configuration_id", "status", "id"),
    Index("ix_builds_source", "configuration_id", "source_name", "id"),
    Index("ix_builds_account", "account", "id"),
    Index("ix_builds_concurrency_key", "concurrency_key", "status"),
)
_waiting = builds.c.status.in_(("queued", "running"))
Index("ix_builds_waiting", builds.c.status, builds.c.id, sqlite_where=_waiting, postgresql_where=_waiting)
_queued = builds.c.status == "queued"
Index("ix_builds_queued", builds.c.account, builds.c.id, sqlite_where=_queued, postgresql_where=_queued)

build_usage = Table(
    "build_usage",  # a trigger adds each build when it ends
    METADATA,
    Column("account", String(39), primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),  # from 1970, in UTC
    Column("seconds", Integer, nullable=False),
)

build_workers = Table(
    "build_workers",
    METADATA,
    Column("id", Identity, primary_key=True),
    Column("name", String(100), nullable=False, unique=True),  # as in ``builds.worker``
    Column("version", String(50), nullable=False),
    Column("platform", String(60), nullable=False),  # linux/amd64; empty: unknown
    Column("builder", String(300), nullable=False),
    Column("isolation", String(500), nullable=False),
    Column("concurrency", Integer, nullable=False),
    Column("address", String(64), nullable=False),
    Column("first_seen_at", Timestamp, nullable=False),
    Column("seen_at", Timestamp, nullable=False, index=True),  # within a minute
    Column("draining", Boolean, nullable=False),  # it gets no more builds
)

build_log = Table(
    "build_log",
    METADATA,
    Column("build_id", Identity, ForeignKey("builds.id", ondelete="CASCADE"), primary_key=True),
    Column("offset", Integer, primary_key=True),  # of its first byte in the log
    Column("size", Integer, nullable=False),  # in bytes, uncompressed
    Column("content", LargeBinary, nullable=False),  # zlib
)
