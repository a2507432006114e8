"""The tables of replication: which repositories are kept in step with other registries, and which tags are behind.

    replication_rules ─┬─ replication_items (what is behind: work to do)
                       ├─ replication_uploads (blobs of which a part was sent)
                       └─ replication_results (what was done, the last ones of each rule)

An item is due when ``due_at`` has passed. A server claims it by setting ``lease`` and moving ``due_at``, which it
repeats while it works; if it dies, the item is due again soon.
"""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, String, Table, Text, text

from hythe.database.tables.metadata import METADATA, Identity, Timestamp

replication_rules = Table(
    "replication_rules",
    METADATA,
    Column("id", Identity, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("direction", String(8), nullable=False),  # a value of Direction
    Column("url", Text, nullable=False),
    Column("username", String(255), nullable=False),
    Column("secret", Text, nullable=False),  # the password or token, sealed; empty: none
    Column("repositories", Text, nullable=False),  # patterns, separated by spaces
    Column("tags", Text, nullable=False),  # patterns, separated by spaces
    Column("destination", String(255), nullable=False),
    Column("deletions", Boolean, nullable=False),
    Column("override", Boolean, nullable=False),
    Column("events", Boolean, nullable=False),
    Column("interval", Integer, nullable=False),  # seconds between comparisons; 0: none by schedule
    Column("concurrency", Integer, nullable=False),
    Column("rate", BigInteger, nullable=False),  # bytes a second; 0: unlimited
    Column("created_at", Timestamp, nullable=False),
    Column("created_by", String(255), nullable=False),
    Column("compare_at", Timestamp),  # when the next comparison is due; NULL: none
    Column("compare_lease", String(36), nullable=False),  # of the server that compares; empty: none
    Column("compared_at", Timestamp),  # when the last complete comparison ended
    # The other registry failed: nothing is tried before.
    Column("paused_until", Timestamp),
    Column("failures", Integer, nullable=False),
    Column("problem", Text, nullable=False),
)

replication_items = Table(
    "replication_items",
    METADATA,
    Column("id", Identity, primary_key=True),
    Column("rule_id", Identity, ForeignKey("replication_rules.id", ondelete="CASCADE"), nullable=False),
    Column("repository", String(255), nullable=False),
    Column("reference", String(140), nullable=False),  # a tag or digest; empty: compare the whole repository
    Column("version", Integer, nullable=False),  # grows with each event
    Column("bytes", BigInteger, nullable=False),  # to be copied, as far as that is known
    Column("created_at", Timestamp, nullable=False),
    Column("due_at", Timestamp, nullable=False),
    Column("lease", String(36), nullable=False),  # of the server that works on it; empty: none
    Column("attempts", Integer, nullable=False),
    Column("problem", Text, nullable=False),
    Index("uq_replication_items_reference", "rule_id", "repository", "reference", unique=True),
    Index("ix_replication_items_due", "rule_id", "due_at"),
    Index("ix_replication_items_age", "rule_id", "created_at"),
)
_held = replication_items.c.lease != text("''")
Index("ix_replication_items_held", replication_items.c.rule_id, sqlite_where=_held, postgresql_where=_held)

replication_uploads = Table(
    "replication_uploads",
    METADATA,
    Column("rule_id", Identity, ForeignKey("replication_rules.id", ondelete="CASCADE"), primary_key=True),
    Column("repository", String(255), primary_key=True),  # the destination
    Column("digest", String(140), primary_key=True),
    Column("upload", Text, nullable=False),  # how the destination identifies it
    Column("touched_at", Timestamp, nullable=False),
)

replication_results = Table(
    "replication_results",
    METADATA,
    Column("id", Identity, primary_key=True),
    Column("rule_id", Identity, ForeignKey("replication_rules.id", ondelete="CASCADE"), nullable=False),
    Column("at", Timestamp, nullable=False),
    Column("repository", String(255), nullable=False),
    Column("reference", String(140), nullable=False),
    Column("outcome", String(16), nullable=False),  # a value of ReplicationOutcome
    Column("bytes", BigInteger, nullable=False),  # that were sent
    Column("seconds", Integer, nullable=False),
    Column("problem", Text, nullable=False),
    Index("ix_replication_results_rule", "rule_id", "id"),
)
