"""Generates the database of a very large hub, on SQLite or PostgreSQL: the same rows on both, about as on a real hub.

    python -m bench.large_hub --database sqlite --folder /tmp/metadata [--repositories 1000000]

Words follow Zipf's law, BROAD_WORD is in a tenth of all descriptions, half of the repositories are private, and the
account OWNER has one in fifty of all. An account has ten repositories and a repository ten tags on average. Digests are
hashes, so that indexes have the locality that they have in practice. No blob has a file.

The numbers of rows follow from the number of repositories alone; secondary indexes are made after the rows.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import random
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import psycopg
from tests.parts.database import prepare_folder, upgrade_in_thread
from tests.parts.postgresql import kept_postgresql_server

from bench.hub_words import OWNER, Words
from hythe.database.port import Dialect
from hythe.database.sqlite import SQLITE_FILE
from hythe.hub.tokens.personal_token import digest_of

SECRET = "hythe_bench00000000000000000000000000000000000000"
"""A personal access token of OWNER."""

FIRST = 100
"""The id of the account before the first, and of its namespace; migrations make others."""

START = datetime(2022, 1, 1, tzinfo=UTC)
LARGEST = 2
"""The number of the repository with the most tags, which is public."""

LARGE_TAGS = 100_000
"""Its tags, on a hub with at least as many repositories."""

DATABASE = "hub"
"""The name of the database in PostgreSQL, and of the data folder of a hub on SQLite."""

SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "1GB",
    "max_wal_size": "4GB",
    "autovacuum": "on",
    "maintenance_work_mem": "1GB",
    "random_page_cost": "1.1",
}
"""As an operator sets up PostgreSQL for a machine with solid-state disks."""

Row = tuple[Any, ...]


class Sink(Protocol):
    """An empty database with the current schema."""

    dialect: Dialect

    def copy(self, table: str, columns: str, rows: Iterable[Row]) -> None:
        """Insert rows."""

    def run(self, statement: str) -> None:
        """Run a statement, which may call ``digest_of(text)`` and ``moment(seconds)``."""

    def indexes(self) -> list[tuple[str, str]]:
        """Return the names and definitions of the indexes that enforce nothing."""


class SQLiteSink:
    """See Sink."""

    dialect: Dialect = "sqlite"

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.create_function("digest_of", 1, _digest, deterministic=True)
        connection.create_function("moment", 1, lambda seconds: _text(_moment(seconds)), deterministic=True)
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -3000000", "foreign_keys = OFF"):
            connection.execute(f"PRAGMA {pragma}")

    def copy(self, table: str, columns: str, rows: Iterable[Row]) -> None:
        """See Sink."""
        places = ", ".join("?" * (columns.count(",") + 1))
        values = (tuple(_text(value) if isinstance(value, datetime) else value for value in row) for row in rows)
        self._connection.executemany(f"INSERT INTO {table} ({columns}) VALUES ({places})", values)

    def run(self, statement: str) -> None:
        """See Sink."""
        self._connection.execute(statement)

    def indexes(self) -> list[tuple[str, str]]:
        """See Sink."""
        query = (
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND sql NOT LIKE '% UNIQUE %'"
        )
        return [(name, sql) for name, sql in self._connection.execute(query).fetchall()]


class PostgreSQLSink:
    """See Sink."""

    dialect: Dialect = "postgresql"

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self.run("SET session_replication_role = replica")  # no triggers, no foreign keys
        self.run("SET synchronous_commit = off")
        self.run(
            "CREATE OR REPLACE FUNCTION pg_temp.digest_of(text) RETURNS text IMMUTABLE LANGUAGE sql AS "
            "$$ SELECT 'sha256:' || encode(sha256($1::bytea), 'hex') $$"
        )
        self.run(
            "CREATE OR REPLACE FUNCTION pg_temp.moment(numeric) RETURNS timestamptz IMMUTABLE LANGUAGE sql AS "
            f"$$ SELECT timestamptz '{START.isoformat()}' + $1 * interval '1 second' $$"
        )

    def copy(self, table: str, columns: str, rows: Iterable[Row]) -> None:
        """See Sink."""
        with self._connection.cursor() as cursor, cursor.copy(f"COPY {table} ({columns}) FROM STDIN".encode()) as copy:
            for row in rows:
                copy.write_row(row)

    def run(self, statement: str) -> None:
        """See Sink."""
        qualified = statement.replace("digest_of(", "pg_temp.digest_of(").replace("moment(", "pg_temp.moment(")
        self._connection.execute((statement if "CREATE OR" in statement else qualified).encode())

    def indexes(self) -> list[tuple[str, str]]:
        """See Sink."""
        query = (
            "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index "
            "JOIN pg_class ON pg_class.oid = indrelid WHERE relnamespace = 'public'::regnamespace AND NOT indisunique"
        )
        return [(name, sql) for name, sql in self._connection.execute(query.encode()).fetchall()]


def _digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _moment(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def _text(moment: datetime) -> str:
    """Return a time as SQLAlchemy stores it in SQLite."""
    return f"{moment:%Y-%m-%d %H:%M:%S.%f}"


class HubRows:
    """The rows of accounts and repositories. Each method yields the same rows however often it is called."""

    def __init__(self, repositories: int) -> None:
        self.repositories = repositories
        self.accounts = max(repositories // 10, 20)
        self._words = Words()
        self.names = self._account_names()

    def _account_names(self) -> list[str]:
        source = random.Random(1)
        names = (f"{self._words.word(source)[:20]}-{number}" for number in range(2, self.accounts + 1))
        return ["", OWNER, *names]

    def organization(self, account: int) -> bool:
        """Return whether an account is an organization: one in twenty is."""
        return account % 20 == 0

    def users(self) -> Iterator[Row]:
        """Yield rows of ``users``."""
        for number in range(1, self.accounts + 1):
            organization = self.organization(number)
            name = self.names[number]
            email = f"organization:{number:x}" if organization else f"{name}@example.org"
            kind, visibility = ("organization", "private") if organization else ("user", "public")
            yield FIRST + number, name, email, "", False, visibility, _moment(number * 60), kind

    def namespaces(self) -> Iterator[Row]:
        """Yield rows of ``namespaces``."""
        for number in range(1, self.accounts + 1):
            kind = "organization" if self.organization(number) else "user"
            yield FIRST + number, self.names[number], kind, FIRST + number

    def members(self) -> Iterator[Row]:
        """Yield rows of ``organization_members``: five of each organization; OWNER is in ten organizations."""
        for organization in range(20, self.accounts + 1, 20):
            people = {(organization * 7 + number * 31) % self.accounts + 1 for number in range(5)}
            if organization <= 200:
                people.add(1)
            for person in sorted(people):
                if not self.organization(person):
                    yield FIRST + organization, FIRST + person, 1, START

    def collaborators(self) -> Iterator[Row]:
        """Yield rows of ``collaborators``, of one in twenty repositories."""
        for repository in range(20, self.repositories + 1, 20):
            person = repository * 13 % self.accounts + 1
            if not self.organization(person):
                yield repository, FIRST + person, 1, START

    def hub_repositories(self) -> Iterator[Row]:
        """Yield rows of ``hub_repositories``, without the full description."""
        source = random.Random(2)
        taken: set[tuple[int, str]] = set()
        for number in range(1, self.repositories + 1):
            owned = number % 50 == 0
            account = 1 if owned else int(self.accounts * source.random() ** 2.5) + 1
            name = self._words.name(source)
            if (account, name) in taken:
                name = f"{name}-{number}"
            taken.add((account, name))
            description = self._words.description(source)
            private = source.random() < (0.9 if owned else 0.49) and number != LARGEST
            pulls = min(int((1 - source.random()) ** -1.3) - 1, 10**9)
            made = _moment(source.random() * 150_000_000)
            changed = made + timedelta(seconds=source.random() * 10_000_000)
            visibility = "private" if private else "public"
            flags = (visibility, False, True)
            yield number, FIRST + account, name, *flags, description, "", pulls // 300, pulls, made, changed, changed

    def plan(self) -> Iterator[Row]:
        """Yield for each repository its account, its numbers of manifests and tags, and its first manifest's number."""
        source = random.Random(3)
        first = 1
        large = min(LARGE_TAGS, self.repositories)
        for number in range(1, self.repositories + 1):
            tags = large if number == LARGEST else min(int(4.05 * (1 - source.random()) ** -0.62), 20_000)
            manifests = 1 + tags // 8
            yield number, manifests, tags, first
            first += manifests


def _repository_names(rows: HubRows, listed: Sequence[Row]) -> Iterator[str]:
    return (f"{rows.names[row[1] - FIRST]}/{row[2]}" for row in listed)


_HUB_COLUMNS = (
    "repository_id, namespace_id, name, visibility, official, listed, description, full_description, stars, pulls, "
    "created_at, updated_at, pushed_at"
)

_BLOB = "INSERT INTO blobs (digest, size, stored_at) "
_IMAGES = "gen_plan JOIN gen_numbers ON gen_numbers.n < gen_plan.manifests"
_MEDIA = "application/vnd.oci.image"
_LAYER = f'{{"mediaType":"{_MEDIA}.layer.v1.tar+gzip","digest":"'
_CONTENT = (
    f"""'{{"schemaVersion":2,"mediaType":"{_MEDIA}.manifest.v1+json","config":{{"mediaType":"{_MEDIA}.config.v1+json","""
    """"digest":"' || digest_of('c' || (first + n)) || '","size":1500},"layers":["""
    f"""{_LAYER}' || digest_of('b' || base) || '","size":30000000}},"""
    f"""{_LAYER}' || digest_of('l' || (first + n)) || '","size":4000000}}]}}'"""
)

_STATEMENTS = (
    # Two blobs of each image are its own, and each repository builds on one of 2,000 base images.
    f"{_BLOB} SELECT digest, size, moment(n) FROM ("
    "SELECT digest_of('c' || n) AS digest, 1500 AS size, n FROM gen_images "
    "UNION ALL SELECT digest_of('l' || n), 4000000, n FROM gen_images "
    "UNION ALL SELECT digest_of('b' || n), 30000000, n FROM gen_numbers WHERE n < 2000) AS made ORDER BY digest",
    "INSERT INTO manifests (repository_id, digest, kind, media_type, artifact_type, annotations, index_depth, size, "
    "content, pushed_at, pushed_by) SELECT id, digest_of('m' || (first + n)), 'image', "
    "'application/vnd.oci.image.manifest.v1+json', '', '{}', 0, 580, {content}, moment(id + n * 3600), account "
    f"FROM {_IMAGES} ORDER BY 1, 2",
    "INSERT INTO repository_blobs (repository_id, digest, linked_at) SELECT id, digest, moment(id) FROM ("
    f"SELECT id, digest_of('c' || (first + n)) AS digest FROM {_IMAGES} "
    f"UNION ALL SELECT id, digest_of('l' || (first + n)) FROM {_IMAGES} "
    "UNION ALL SELECT id, digest_of('b' || base) FROM gen_plan) AS linked ORDER BY 1, 2",
    "INSERT INTO manifest_blobs (repository_id, manifest, blob) SELECT id, manifest, blob FROM ("
    f"SELECT id, digest_of('m' || (first + n)) AS manifest, digest_of('c' || (first + n)) AS blob FROM {_IMAGES} "
    f"UNION ALL SELECT id, digest_of('m' || (first + n)), digest_of('l' || (first + n)) FROM {_IMAGES} "
    f"UNION ALL SELECT id, digest_of('m' || (first + n)), digest_of('b' || base) FROM {_IMAGES}) AS used ORDER BY 1, 2",
    "INSERT INTO tags (repository_id, name, digest, moved_at, moved_by) SELECT id, "
    "CASE n WHEN 0 THEN 'latest' ELSE (n / 100) || '.' || (n / 10 % 10) || '.' || (n % 10) END AS tag, "
    "digest_of('m' || (first + n / 8)), moment(id + n * 3600), account "
    "FROM gen_plan JOIN gen_numbers ON gen_numbers.n < gen_plan.tags ORDER BY 1, 2",
    "INSERT INTO tag_moves (repository_id, tag, digest, moved_at, moved_by) "
    "SELECT repository_id, name, digest, moved_at, moved_by FROM tags",
    "INSERT INTO catalog_entries (repository_id, name, audience) SELECT repository_id, repositories.name, "
    "CASE visibility WHEN 'public' THEN 'public' ELSE 'namespace ' || namespace_id END "
    "FROM hub_repositories JOIN repositories ON repositories.id = repository_id",
    "INSERT INTO namespace_blobs (namespace, digest, size, repositories) SELECT account, repository_blobs.digest, "
    "max(blobs.size), count(*) FROM repository_blobs JOIN gen_plan ON gen_plan.id = repository_id "
    "JOIN blobs ON blobs.digest = repository_blobs.digest GROUP BY 1, 2",
    "INSERT INTO namespace_usage (namespace, bytes, repositories) SELECT account, "
    "(SELECT sum(size) FROM namespace_blobs WHERE namespace = account) + 580 * sum(manifests), count(*) "
    "FROM gen_plan GROUP BY account",
)


def fill(sink: Sink, repositories: int, report: Callable[[str], None] = print) -> None:
    """Fill an empty database; secondary indexes are created at the end."""
    begun = time.perf_counter()
    rows = HubRows(repositories)
    indexes = sink.indexes()
    for name, _ in indexes:
        sink.run(f"DROP INDEX {name}")
    _copy_accounts(sink, rows)
    listed = list(rows.hub_repositories())
    names = list(_repository_names(rows, listed))
    sink.copy(
        "repositories",
        "id, name, created_at",
        ((row[0], name, row[-3]) for row, name in zip(listed, names, strict=True)),
    )
    sink.copy("hub_repositories", _HUB_COLUMNS, listed)
    sink.copy("collaborators", "repository_id, user_id, role, added_at", rows.collaborators())
    _copy_plan(sink, rows, listed)
    report(f"  accounts and repositories after {time.perf_counter() - begun:.0f} s")
    content = f"CAST({_CONTENT} AS BLOB)" if sink.dialect == "sqlite" else f"convert_to({_CONTENT}, 'UTF8')"
    for statement in _STATEMENTS:
        sink.run(statement.replace("{content}", content))
        report(f"  {statement.split('(')[0].split()[2]} after {time.perf_counter() - begun:.0f} s")
    for name in ("gen_plan", "gen_images", "gen_numbers"):
        sink.run(f"DROP TABLE {name}")
    for _, definition in indexes:
        sink.run(definition)
    report(f"  indexes after {time.perf_counter() - begun:.0f} s")
    documents = ((row[0], name, row[6]) for row, name in zip(listed, names, strict=True) if row[3] == "public")
    sink.copy("search_documents", "repository_id, name, description", documents)
    report(f"  search after {time.perf_counter() - begun:.0f} s")


def _copy_accounts(sink: Sink, rows: HubRows) -> None:
    sink.copy("users", "id, name, email, password_hash, admin, default_visibility, created_at, kind", rows.users())
    sink.copy("namespaces", "id, name, kind, user_id", rows.namespaces())
    sink.copy("organization_members", "organization_id, user_id, role, joined_at", rows.members())
    rights = "repo:read repo:write repo:delete"
    token = (1, FIRST + 1, "bench", digest_of(SECRET), "", START, "personal", rights)
    sink.copy("personal_tokens", "id, user_id, name, digest, rights, created_at, kind, permissions", [token])


def _copy_plan(sink: Sink, rows: HubRows, listed: Sequence[Row]) -> None:
    sink.run(
        "CREATE TABLE gen_plan (id bigint PRIMARY KEY, manifests bigint, tags bigint, first bigint, account text, "
        "base bigint)"
    )
    accounts = (rows.names[row[1] - FIRST] for row in listed)
    planned = ((*plan, name, plan[0] % 2000) for plan, name in zip(rows.plan(), accounts, strict=True))
    sink.copy("gen_plan", "id, manifests, tags, first, account, base", planned)
    sink.run("CREATE TABLE gen_numbers (n bigint PRIMARY KEY)")
    sink.copy("gen_numbers", "n", ((n,) for n in range(LARGE_TAGS)))
    sink.run("CREATE TABLE gen_images (n bigint PRIMARY KEY)")
    images = sum(plan[1] for plan in rows.plan())
    sink.copy("gen_images", "n", ((n,) for n in range(1, images + 1)))
    if sink.dialect == "postgresql":
        sink.run("ANALYZE gen_plan")
        sink.run("ANALYZE gen_numbers")


def fill_sqlite(folder: Path, repositories: int) -> Path:
    """Make the data folder of such a hub in ``folder``, unless it is there, and return it."""
    data = folder / DATABASE
    if (data / SQLITE_FILE).exists():
        upgrade_in_thread(data)
        return data
    unfinished = folder / "unfinished"
    prepare_folder(unfinished)
    with contextlib.closing(sqlite3.connect(unfinished / SQLITE_FILE, isolation_level=None)) as connection:
        sink = SQLiteSink(connection)
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name <> 'search_documents'"
        triggers = connection.execute(query).fetchall()
        connection.execute("BEGIN")
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        fill(sink, repositories)
        for _, definition in triggers:
            connection.execute(definition)
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")
    unfinished.rename(data)
    return data


_SEQUENCES = ("users", "namespaces", "repositories", "tag_moves", "personal_tokens")


def fill_postgresql(url: str, repositories: int) -> None:
    """Fill an empty database."""
    upgrade_in_thread(Path("unused"), url)
    with psycopg.connect(url, autocommit=True) as connection:
        trigger = "SELECT tgname FROM pg_trigger WHERE tgrelid = 'search_documents'::regclass AND NOT tgisinternal"
        for (name,) in connection.execute(trigger).fetchall():
            connection.execute(f"ALTER TABLE search_documents ENABLE ALWAYS TRIGGER {name}".encode())
        fill(PostgreSQLSink(connection), repositories)
        for (name,) in connection.execute(trigger).fetchall():
            connection.execute(f"ALTER TABLE search_documents ENABLE TRIGGER {name}".encode())
        for table in _SEQUENCES:
            sequence = f"pg_get_serial_sequence('{table}', 'id')"
            connection.execute(f"SELECT setval({sequence}, (SELECT max(id) FROM {table}))".encode())
        connection.execute("VACUUM ANALYZE")


@contextlib.contextmanager
def large_postgresql(folder: Path, repositories: int) -> Iterator[str]:
    """Run PostgreSQL on such a database in ``folder``, which is made unless it is there; yield the URL."""
    with kept_postgresql_server(folder / "postgresql", SETTINGS) as server:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            query = "SELECT datname FROM pg_database WHERE datname IN (%s, 'unfinished')"
            names = [name for (name,) in connection.execute(query, (DATABASE,)).fetchall()]
            if "unfinished" in names:
                server.drop("unfinished")
        if DATABASE not in names:
            fill_postgresql(server.create("unfinished"), repositories)
            with psycopg.connect(server.url(), autocommit=True) as connection:
                connection.execute(f"ALTER DATABASE unfinished RENAME TO {DATABASE}".encode())
        else:
            upgrade_in_thread(Path("unused"), server.url(DATABASE))
        yield server.url(DATABASE)


def folder_of(folder: Path, repositories: int) -> Path:
    """Return the folder of a hub of this size, for both databases."""
    path = folder / f"{repositories}"
    path.mkdir(parents=True, exist_ok=True)
    return path


def main() -> None:
    """Read the flags and generate."""
    parser = argparse.ArgumentParser(description="Generate the database of a very large hub, and keep it.")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), required=True)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/metadata"))
    parser.add_argument("--repositories", type=int, default=1_000_000)
    flags = parser.parse_args()
    begun = time.perf_counter()
    folder = folder_of(flags.folder, flags.repositories)
    if flags.database == "sqlite":
        print(fill_sqlite(folder, flags.repositories))
    else:
        with large_postgresql(folder, flags.repositories) as url:
            print(url)
    print(f"{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
