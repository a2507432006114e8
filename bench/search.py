"""Compare search on a large hub with podman's way to search a registry without search: reading its whole catalog.

    python -m bench.search [--rounds 5] [--repositories 100000]

The peer is Debian's docker-registry with repositories of the same names. Prints the median time of one search over HTTP
and the ratio of docker-registry to hythe (above 1: hythe is faster).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, Table, insert
from tests.parts.process import clear_away, own_folder

from bench.servers import Server, docker_registry, hythe_hub
from hythe.database.sqlite import SQLITE_FILE, sqlite_engine
from hythe.database.tables.hub import hub_repositories, namespaces, search_documents, users
from hythe.database.tables.registry import repositories

WORDS = (
    "web",
    "mail",
    "proxy",
    "cache",
    "queue",
    "search",
    "build",
    "test",
    "data",
    "log",
    "monitor",
    "backup",
    "gateway",
    "worker",
    "static",
    "redis",
    "cent",
    "node",
)
"""Names and descriptions are made of these words, so that each word matches many repositories."""

SEARCHES = {
    "an exact name": "web-static-17",
    "a name prefix": "web-stat",
    "a word in a ninth of all": "mail",
    "two words": "proxy gateway",
    "a typo": "web-statik-17",
    "no match": "zzyzx",
}
BATCH = 5000


def name_of(number: int) -> str:
    """Return the name of repository ``number``."""
    return f"{WORDS[number % len(WORDS)]}-{WORDS[number // len(WORDS) % len(WORDS)]}-{number // len(WORDS) ** 2}"


def rows_of(numbers: range) -> Iterator[tuple[Table, list[dict[str, object]]]]:
    """Yield the rows of public repositories of the user ``bench``, table by table."""
    now = datetime.now(UTC)
    names = {number: name_of(number) for number in numbers}
    described = {number: f"A {WORDS[number * 7 % len(WORDS)]} for everybody" for number in numbers}
    yield repositories, [{"id": key, "name": f"bench/{name}", "created_at": now} for key, name in names.items()]
    common = {"namespace_id": 1000, "visibility": "public", "official": False, "listed": True, "full_description": ""}
    times = {"created_at": now, "updated_at": now, "pushed_at": now}
    yield (
        hub_repositories,
        [
            common
            | times
            | {"repository_id": key, "name": name, "description": described[key], "stars": key % 50, "pulls": key}
            for key, name in names.items()
        ],
    )
    documents = [
        {"repository_id": key, "name": f"bench/{name}", "description": described[key]} for key, name in names.items()
    ]
    yield search_documents, documents


def fill_hub(connection: Connection, count: int) -> None:
    """Insert a user with ``count`` repositories into the hub's database."""
    account = {"id": 1000, "name": "bench", "email": "bench@example.org", "password_hash": "none", "admin": False}
    made = {"default_visibility": "public", "private_limit": None, "created_at": datetime.now(UTC)}
    connection.execute(insert(users), account | made)
    connection.execute(insert(namespaces), {"id": 1000, "name": "bench", "kind": "user", "user_id": 1000})
    for start in range(0, count, BATCH):
        for table, rows in rows_of(range(start + 1, min(start + BATCH, count) + 1)):
            connection.execute(insert(table), rows)


def fill_registry(folder: Path, count: int) -> None:
    """Create the folders by which docker-registry finds its repositories."""
    root = folder / "docker-registry/docker/registry/v2/repositories/bench"
    for number in range(1, count + 1):
        (root / name_of(number) / "_layers").mkdir(parents=True)


def search_hub(server: Server, text: str) -> int:
    """Search as docker and podman search a hub; return the number of results."""
    with urllib.request.urlopen(f"{server.url}/v1/search?q={quote(text)}&n=25") as response:
        return len(json.load(response)["results"])


def search_catalog(server: Server, text: str) -> int:
    """Search as podman does without a search API: read the catalog and compare names."""
    found, address = 0, f"{server.url}/v2/_catalog?n=1000"
    while address:
        with urllib.request.urlopen(address) as response:
            found += sum(text in name for name in json.load(response)["repositories"])
            more = response.headers["Link"]
        address = server.url + more[1 : more.index(">")] if more else ""
    return found


def seconds(search: Callable[[Server, str], int], server: Server, text: str, rounds: int) -> float:
    """Return the median seconds of a search."""
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        search(server, text)
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def measure(folder: Path, rounds: int, count: int) -> None:
    """Fill both servers and search."""
    with hythe_hub(folder):
        pass  # creates the database
    with sqlite_engine(folder / "hub" / SQLITE_FILE).begin() as connection:
        fill_hub(connection, count)
    fill_registry(folder, count)
    with hythe_hub(folder) as hub, docker_registry(folder) as registry:
        print(f"{count:,} repositories")
        whole = seconds(search_catalog, registry, "web", max(1, rounds // 5))
        for what, text in SEARCHES.items():
            ours = seconds(search_hub, hub, text, rounds * 4)
            print(
                f"{what:<28} hythe {ours * 1000:8.2f} ms ({search_hub(hub, text)} of 25 shown)   "
                f"docker-registry's catalog {whole * 1000:9.0f} ms   ratio {whole / ours:,.0f}",
                flush=True,
            )


def main() -> None:
    """Read the flags and measure."""
    parser = argparse.ArgumentParser(description="Measure search on a large hub.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repositories", type=int, default=100_000)
    flags = parser.parse_args()
    with own_folder("bench-search") as folder:
        measure(folder, flags.rounds, flags.repositories)
        clear_away(folder)


if __name__ == "__main__":
    main()
