"""The tables of the tag log, a Merkle log of every move of a tag in the hub's repositories (``docs/tag-log.md``).

    tag_log_queue ──(sequencer)──> tag_log_entries (the leaves), tag_log_tiles (their hashes), tag_log (the checkpoint)

Triggers on ``tag_moves`` and ``repositories`` queue what happens, in the transaction of the change and with the names
of that moment, so that neither a deletion nor an older server bypasses the log (migration 0023). Nothing here refers
to a repository by a foreign key: the log outlives it.
"""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, String, Table, Text

from hythe.database.tables.metadata import METADATA, Identity, Timestamp

# One row, which the hub's first start writes.
tag_log = Table(
    "tag_log",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),  # always 1
    Column("origin", String(300), nullable=False),  # the name of the log and of its key, which never change
    Column("public_key", String(500), nullable=False),
    Column("private_key", Text, nullable=False),  # sealed
    Column("size", BigInteger, nullable=False),
    Column("checkpoint", Text, nullable=False),  # the signed note for this size
)

tag_log_queue = Table(
    "tag_log_queue",
    METADATA,
    Column("id", Identity, primary_key=True),
    Column("kind", String(20), nullable=False),  # see transparency/entry.py
    Column("repository_id", Identity, nullable=False, index=True),
    Column("repository", String(255), nullable=False),
    Column("public", Boolean, nullable=False),
    Column("tag", String(128)),
    Column("digest", String(140)),
    Column("previous", String(140)),
    Column("new_name", String(255)),
    Column("at", Timestamp, nullable=False),
)

tag_log_entries = Table(
    "tag_log_entries",
    METADATA,
    Column("number", Identity, primary_key=True, autoincrement=False),  # from 0, without gaps
    Column("repository_id", Identity, nullable=False),
    Column("tag", String(128), nullable=False),  # empty: the entry is about the whole repository
    Column("content", LargeBinary, nullable=False),  # the leaf
    Column("plain", LargeBinary),  # the entry without HMACs; None: the leaf has none
    Index("ix_tag_log_entries_tag", "repository_id", "tag", "number"),
)

tag_log_tiles = Table(
    "tag_log_tiles",
    METADATA,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("number", Identity, primary_key=True, autoincrement=False),
    Column("hashes", LargeBinary, nullable=False),
)

# The repositories that the log has entries of.
tag_log_repositories = Table(
    "tag_log_repositories",
    METADATA,
    Column("repository_id", Identity, primary_key=True, autoincrement=False),
    Column("salt", String(64), nullable=False),  # the key of its HMACs; deleted with the repository
    Column("public", Boolean, nullable=False),  # whether the last entry has plain names
)
