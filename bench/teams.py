"""Compare a hub with very many accounts, organizations, teams and repositories with a small one, on both databases.

    python -m bench.teams [--rounds 200] [--organizations 20000]

Each organization has 5 accounts, 10 teams and 50 repositories, half of them private. A user who belongs to two teams of
one organization asks for an access token, pushes an image, pulls it, and lists the repositories that they have a role
on. Prints the median times over HTTP in both hubs, and the ratio of the large one to the small one (1: size costs
nothing).
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import http.client
import json
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
from tests.parts.database import prepare_folder, upgrade_in_thread
from tests.parts.hub import HUB, HytheServer, server_factory
from tests.parts.postgresql import postgresql_server
from tests.parts.process import clear_away, own_folder

from hythe.database.port import Dialect
from hythe.database.sqlite import SQLITE_FILE
from hythe.oci.manifest import OCI_CONFIG, OCI_MANIFEST, Descriptor, ImageManifest

SMALL = 2
BLOCKS = 20
"""How often the two hubs take turns, so that what else the machine does slows both down."""

USER, PASSWORD, REPOSITORY = "bench", "correct horse", "o1/r2"
FIRST_ORGANIZATION, FIRST_ACCOUNT = 1_000_000, 2_000_000
TIME = "'2026-01-01 00:00:00.000000'"

ROWS = """
organizations users (id, name, email, password_hash, admin, default_visibility, created_at, kind)
    SELECT {organization} + n, 'o' || n, 'organization:' || n, '', {no}, 'private', {time}, 'organization'
organizations namespaces (id, name, kind, user_id)
    SELECT {organization} + n, 'o' || n, 'organization', {organization} + n
accounts users (id, name, email, password_hash, admin, default_visibility, created_at)
    SELECT {account} + n, 'a' || n, 'a' || n || '@example.org', '', {no}, 'public', {time}
accounts namespaces (id, name, kind, user_id) SELECT {account} + n, 'a' || n, 'user', {account} + n
accounts organization_members (organization_id, user_id, role, joined_at)
    SELECT {organization} + (n - 1) / 5 + 1, {account} + n, 1, {time}
teams teams (id, organization_id, name, description, created_at)
    SELECT n, {organization} + (n - 1) / 10 + 1, 't' || n, '', {time}
teams team_members (team_id, user_id, added_at) SELECT n, {account} + (n - 1) / 2 + 1, {time}
teams team_grants (team_id, pattern, like_pattern, role) SELECT n, 'new-*', 'new-%', 2
repositories repositories (id, name, created_at) SELECT n, 'o' || ((n - 1) / 50 + 1) || '/r' || n, {time}
repositories hub_repositories (repository_id, namespace_id, name, visibility, official, listed, description,
    full_description, stars, pulls, created_at, updated_at)
    SELECT n, {organization} + (n - 1) / 50 + 1, 'r' || n, CASE n % 2 WHEN 0 THEN 'private' ELSE 'public' END,
    {no}, {yes}, '', '', n % 50, n, {time}, {time}
repositories team_repositories (team_id, repository_id, role) SELECT (n - 1) / 50 * 10 + n % 10 + 1, n, 2
repositories team_repositories (team_id, repository_id, role) SELECT (n - 1) / 50 * 10 + (n + 3) % 10 + 1, n, 1
"""
"""What to count, the table with its columns, and its rows of number ``n``."""

JOIN = f"""
INSERT INTO organization_members (organization_id, user_id, role, joined_at)
    SELECT {FIRST_ORGANIZATION} + 1, id, 1, {TIME} FROM users WHERE name = '{USER}';
INSERT INTO team_members (team_id, user_id, added_at) SELECT 3, id, {TIME} FROM users WHERE name = '{USER}';
INSERT INTO team_members (team_id, user_id, added_at) SELECT 4, id, {TIME} FROM users WHERE name = '{USER}'
"""


def statements(dialect: Dialect, organizations: int) -> Iterator[str]:
    """Yield the statements that fill a database, without its triggers."""
    numbers = {"organizations": 1, "accounts": 5, "teams": 10, "repositories": 50}
    values = {"organization": f"{FIRST_ORGANIZATION}", "account": f"{FIRST_ACCOUNT}"}
    on_postgresql = dialect == "postgresql"
    if on_postgresql:
        values |= {"no": "false", "yes": "true", "time": f"{TIME}::timestamptz"}
    else:
        values |= {"no": "0", "yes": "1", "time": TIME}
    for rows in ROWS.strip().replace("\n    ", " ").splitlines():
        what, rest = rows.format(**values).split(" ", 1)
        count = numbers[what] * organizations
        table, _, selected = rest.partition(" SELECT ")
        source = (
            f"generate_series(1, {count}) AS numbers(n)"
            if on_postgresql
            else f"(WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count}) "
            "SELECT n FROM numbers)"
        )
        yield f"INSERT INTO {table} SELECT {selected} FROM {source}"


def fill_sqlite(data: Path, organizations: int) -> None:
    """Make the database of a hub of this size."""
    prepare_folder(data)
    with contextlib.closing(sqlite3.connect(data / SQLITE_FILE, isolation_level=None)) as connection:
        connection.execute("PRAGMA cache_size = -500000")
        triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        connection.execute("BEGIN")
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements("sqlite", organizations):
            connection.execute(statement)
        for _, definition in triggers:
            connection.execute(definition)
        connection.execute("COMMIT")


def fill_postgresql(url: str, organizations: int) -> None:
    """Make the database of a hub of this size."""
    upgrade_in_thread(Path("unused"), url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")  # no triggers, no foreign keys
        for statement in statements("postgresql", organizations):
            connection.execute(statement.encode())
        connection.execute("VACUUM ANALYZE")


class Client:
    """A user of a hub on one connection."""

    def __init__(self, hub: HytheServer) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", hub.port)
        self._service = hub.host
        self._pushes = 0
        self.basic = self._basic(PASSWORD)
        body = json.dumps({"name": "bench", "rights": ["repo:read", "repo:write"]}).encode()
        self.basic = self._basic(str(json.loads(self.request("POST", "/api/v1/tokens", body, self.basic))["token"]))
        self.push()
        self.bearer = self._bearer()

    def request(self, method: str, path: str, body: bytes = b"", credential: str = "", kind: str = "") -> bytes:
        """Send a request and return the content of the response. Raises RuntimeError if it fails."""
        kind = kind or "application/json"
        self._connection.request(method, path, body, {"Authorization": credential, "Content-Type": kind})
        response = self._connection.getresponse()
        content = response.read()
        if response.status >= 300:
            raise RuntimeError(f"{method} {path}: {response.status} {content.decode()}")
        return content

    def token(self) -> str:
        """Return an access token for pushing."""
        path = f"/token?service={self._service}&scope=repository:{REPOSITORY}:pull,push"
        return str(json.loads(self.request("GET", path, credential=self.basic))["token"])

    def push(self) -> None:
        """Push an image of one small blob with a new access token."""
        self._pushes += 1
        bearer = self._bearer()
        config = f'{{"os":"linux","n":{self._pushes}}}'.encode()
        digest = f"sha256:{hashlib.sha256(config).hexdigest()}"
        uploads = f"/v2/{REPOSITORY}/blobs/uploads/?digest={digest}"
        self.request("POST", uploads, config, bearer, "application/octet-stream")
        manifest = ImageManifest(2, OCI_MANIFEST, Descriptor(OCI_CONFIG, digest, len(config)), ()).encode()
        self.request("PUT", f"/v2/{REPOSITORY}/manifests/latest", manifest, bearer, OCI_MANIFEST)

    def pull(self) -> None:
        """Read the manifest."""
        self.request("GET", f"/v2/{REPOSITORY}/manifests/latest", credential=self.bearer)

    def pull_with_new_token(self) -> None:
        """Read the manifest as an engine does that just started."""
        self.request("GET", f"/v2/{REPOSITORY}/manifests/latest", credential=self._bearer())

    def repositories(self) -> None:
        """List the repositories on which the user has a role."""
        self.request("GET", "/api/v1/users/me/repositories", credential=self.basic)

    def _basic(self, secret: str) -> str:
        return f"Basic {base64.b64encode(f'{USER}:{secret}'.encode()).decode()}"

    def _bearer(self) -> str:
        return f"Bearer {self.token()}"


def median(work: Callable[[], object], rounds: int) -> float:
    """Return the median time in milliseconds."""
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1000


def compare(clients: list[Client], rounds: int) -> None:
    """Print the times of both hubs; they take turns."""
    for name in ("token", "push", "pull", "pull_with_new_token", "repositories"):
        found: list[list[float]] = [[], []]
        for _ in range(BLOCKS):
            for times, client in zip(found, clients, strict=True):
                times.append(median(getattr(client, name), max(1, rounds // BLOCKS)))
        small, large = (statistics.median(times) for times in found)
        print(f"  {name:<22} small {small:7.2f} ms   large {large:7.2f} ms   ratio {large / small:.2f}", flush=True)


def joined(hub: HytheServer, execute: Callable[[str], object]) -> Client:
    """Create the user, let them join the teams, and sign in."""
    hub.create_user(USER, PASSWORD)
    for statement in JOIN.strip().split(";\n"):
        execute(statement)
    return Client(hub)


def measure_sqlite(folder: Path, rounds: int, sizes: list[int]) -> None:
    """Compare two hubs on SQLite."""
    with server_factory(folder, HUB) as start:
        clients = []
        for size in sizes:
            data = folder / f"sqlite-{size}"
            begun = time.perf_counter()
            fill_sqlite(data, size)
            print(f"  filled with {size:,} organizations in {time.perf_counter() - begun:.0f} s", flush=True)
            hub = start(data=data)
            with contextlib.closing(sqlite3.connect(data / SQLITE_FILE, isolation_level=None)) as connection:
                clients.append(joined(hub, connection.execute))
        compare(clients, rounds)


def measure_postgresql(folder: Path, rounds: int, sizes: list[int]) -> None:
    """Compare two hubs on PostgreSQL, which writes to disk as in production."""
    settings = {"fsync": "on", "synchronous_commit": "on", "shared_buffers": "1GB", "max_wal_size": "8GB"}
    with postgresql_server(settings) as server, server_factory(folder, HUB) as start:
        clients = []
        for size in sizes:
            url = server.create(f"hub_{size}")
            begun = time.perf_counter()
            fill_postgresql(url, size)
            print(f"  filled with {size:,} organizations in {time.perf_counter() - begun:.0f} s", flush=True)
            hub = start(database_url=url)
            with psycopg.connect(url, autocommit=True) as connection:
                clients.append(joined(hub, connection.cursor().execute))
        compare(clients, rounds)


def main() -> None:
    """Read the flags and measure."""
    parser = argparse.ArgumentParser(description="Measure a hub with very many accounts, teams and repositories.")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--organizations", type=int, default=20_000)
    flags = parser.parse_args()
    sizes = [SMALL, flags.organizations]
    for size in sizes:
        print(f"{5 * size:,} accounts, {size:,} organizations, {10 * size:,} teams, {50 * size:,} repositories")
    for name, measure in (("SQLite", measure_sqlite), ("PostgreSQL", measure_postgresql)):
        with own_folder(f"bench-teams-{name}") as folder:
            print(name, flush=True)
            measure(folder, flags.rounds, sizes)
            clear_away(folder)


if __name__ == "__main__":
    main()
