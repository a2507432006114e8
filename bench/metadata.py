"""Measure a hub with a million repositories over HTTP: search, pages, lists, tokens, pushes, pulls, start and gc.

    python -m bench.metadata --database sqlite [--repositories 1000000] [--rounds 200] [--folder /tmp/metadata]

The peer is the same hub with SMALL repositories, whose requests alternate with the large one's: a ratio of 1 says that
size costs nothing. docker-registry is no peer for this: it reads its catalog from a folder for each repository, which
took 86 s for 100,000, and it has no search, pages or accounts. The databases stay in the folder, so that the next run
does not generate them again; garbage collection deletes some content from them each time.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import http.client
import json
import random
import sqlite3
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from tests.parts.process import free_port

from bench.hub_words import BROAD_WORD, OWNER, Words
from bench.large_hub import LARGEST, SECRET, fill_sqlite, folder_of, large_postgresql
from bench.servers import HYTHE, Server, running
from hythe.database.sqlite import SQLITE_FILE
from hythe.oci.manifest import OCI_CONFIG, OCI_MANIFEST, Descriptor, ImageManifest

SMALL = 1000
WARM_UP = 20
"""Requests of each kind that do not count: they open connections and prepare statements."""

DELETED = (1, 1000, 100_000)
"""Tags that are deleted before a garbage collection, fewer on a small hub."""

NAMES_SHOWN = 100
"""Names of one page of ``_catalog`` and ``tags/list``."""


@dataclass
class Hub:
    """A running hub, its database, and what to ask it."""

    server: Server
    flags: list[str]
    execute: Callable[[str], list[Any]]
    repositories: int
    source: random.Random = field(default_factory=lambda: random.Random(7))
    words: Words = field(default_factory=Words)
    basic: str = f"Basic {base64.b64encode(f'{OWNER}:{SECRET}'.encode()).decode()}"
    pushes: int = 0

    def __post_init__(self) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", self.server.port)
        self.pull_bearer = ""
        self.catalog_bearer = self.token("registry:catalog:*")
        rows = self.execute(
            "SELECT repositories.name FROM repositories JOIN hub_repositories ON repository_id = id "
            f"WHERE visibility = 'public' AND id > {self.repositories // 2} ORDER BY id LIMIT 500"
        )
        self.names = [name for (name,) in rows]
        own = f"SELECT id FROM namespaces WHERE name = '{OWNER}'"
        rows = self.execute(f"SELECT name FROM hub_repositories WHERE namespace_id = ({own}) ORDER BY name LIMIT 500")
        self.own = [name for (name,) in rows]
        rows = self.execute("SELECT name FROM namespaces WHERE kind = 'organization' ORDER BY id LIMIT 100")
        self.organizations = [name for (name,) in rows]
        (most,) = self.execute(f"SELECT name FROM repositories WHERE id = {LARGEST}")
        self.tagged = str(most[0])
        self.tags_bearer = self.token(f"repository:{self.tagged}:pull")

    def ask(self, path: str, credential: str = "", method: str = "GET", body: bytes = b"", kind: str = "") -> bytes:
        """Send a request and return the content of the response. Raises RuntimeError if it fails."""
        headers = {"Authorization": credential} if credential else {}
        self.connection.request(method, path, body, headers | ({"Content-Type": kind} if kind else {}))
        response = self.connection.getresponse()
        content = response.read()
        if response.status >= 300:
            raise RuntimeError(f"{method} {path}: {response.status} {content.decode()[:300]}")
        return content

    def search(self, text: str, credential: str = "") -> None:
        """Search as clients do that use the JSON API."""
        self.ask(f"/api/v1/search?q={quote(text)}", credential)

    def token(self, scope: str) -> str:
        """Return the header of a new access token."""
        service = f"127.0.0.1:{self.server.port}"
        return f"Bearer {json.loads(self.ask(f'/token?service={service}&scope={scope}', self.basic))['token']}"

    def push(self) -> None:
        """Push an image of one small blob to one of the owner's repositories, with a new access token."""
        self.pushes += 1
        name = f"{OWNER}/{self.own[self.pushes % len(self.own)]}"
        bearer = self.token(f"repository:{name}:pull,push")
        config = json.dumps({"os": "linux", "n": time.time_ns()}).encode()
        digest = f"sha256:{hashlib.sha256(config).hexdigest()}"
        self.ask(f"/v2/{name}/blobs/uploads/?digest={digest}", bearer, "POST", config, "application/octet-stream")
        manifest = ImageManifest(2, OCI_MANIFEST, Descriptor(OCI_CONFIG, digest, len(config)), ()).encode()
        self.ask(f"/v2/{name}/manifests/bench", bearer, "PUT", manifest, OCI_MANIFEST)

    def pull(self) -> None:
        """Read a manifest as an engine does: with a new access token."""
        name = self.one(self.names)
        self.ask(f"/v2/{name}/manifests/latest", self.token(f"repository:{name}:pull"))

    def one(self, names: list[str]) -> str:
        """Return one of the names."""
        return self.source.choice(names)

    def word(self) -> str:
        """Return a word as people search for them: the more frequent, the likelier."""
        return self.words.word(self.source)


def _typo(word: str) -> str:
    middle = len(word) // 2
    return word[:middle] + word[middle + 1] + word[middle] + word[middle + 2 :] if len(word) > 5 else f"{word}xq"


def _catalog(hub: Hub, after: str) -> None:
    hub.ask(f"/v2/_catalog?n={NAMES_SHOWN}&last={after}", hub.catalog_bearer)


def _tags(hub: Hub, after: str) -> None:
    hub.ask(f"/v2/{hub.tagged}/tags/list?n={NAMES_SHOWN}&last={after}", hub.tags_bearer)


REQUESTS: dict[str, Callable[[Hub], object]] = {
    "search: two words": lambda hub: hub.search(f"{hub.word()} {hub.word()}"),
    "search: two broad words": lambda hub: hub.search(f"web {BROAD_WORD}"),
    "search: a word in a tenth of all": lambda hub: hub.search(BROAD_WORD),
    "search: a prefix of three letters": lambda hub: hub.search(hub.word()[:3]),
    "search: a typo": lambda hub: hub.search(_typo(hub.word())),
    "search: an exact name": lambda hub: hub.search(hub.one(hub.names)),
    "search: no match": lambda hub: hub.search("zzyzxq"),
    "search: two words, owner of most": lambda hub: hub.search(f"{hub.word()} {hub.word()}", hub.basic),
    "search: own private name": lambda hub: hub.search(hub.one(hub.own), hub.basic),
    "search page, broad word": lambda hub: hub.ask(f"/search?q={BROAD_WORD}"),
    "start page": lambda hub: hub.ask("/"),
    "explore": lambda hub: hub.ask("/search"),
    "repository page": lambda hub: hub.ask(f"/{hub.one(hub.names)}"),
    "namespace page of most": lambda hub: hub.ask(f"/{OWNER}"),
    "organization page": lambda hub: hub.ask(f"/{hub.one(hub.organizations)}"),
    "own repositories (API)": lambda hub: hub.ask("/api/v1/users/me/repositories", hub.basic),
    "tags page of most tags": lambda hub: hub.ask(f"/{hub.tagged}/-/tags"),
    "_catalog: first": lambda hub: _catalog(hub, ""),
    "_catalog: middle": lambda hub: _catalog(hub, "m"),
    "_catalog: last": lambda hub: _catalog(hub, "zr"),
    "tags/list: first": lambda hub: _tags(hub, ""),
    "tags/list: middle": lambda hub: _tags(hub, "500"),
    "tags/list: last": lambda hub: _tags(hub, "99"),
    "token": lambda hub: hub.token(f"repository:{OWNER}/{hub.one(hub.own)}:pull,push"),
    "pull of a manifest, new token": Hub.pull,
    "push of an image, new token": Hub.push,
}


@contextlib.contextmanager
def started(flags: list[str], folder: Path) -> Iterator[Server]:
    """Run a hub on a database whose blobs have no files."""
    subprocess.run([str(HYTHE), "admin", "adopt-blobs", *flags], capture_output=True, check=True)
    port = free_port()
    with running("hub", [str(HYTHE), "serve", "--listen", f"127.0.0.1:{port}", *flags], port, folder) as server:
        yield server


@contextlib.contextmanager
def sqlite_hub(folder: Path, repositories: int) -> Iterator[Hub]:
    """Run a hub of this size on SQLite."""
    data = fill_sqlite(folder_of(folder, repositories), repositories)
    with contextlib.closing(sqlite3.connect(data / SQLITE_FILE, isolation_level=None, timeout=60)) as connection:
        flags = ["--data", str(data)]
        with started(flags, data.parent) as server:
            yield Hub(server, flags, lambda text: connection.execute(text).fetchall(), repositories)


@contextlib.contextmanager
def postgresql_hub(folder: Path, repositories: int) -> Iterator[Hub]:
    """Run a hub of this size on PostgreSQL."""
    own = folder_of(folder, repositories)
    with large_postgresql(own, repositories) as url, psycopg.connect(url, autocommit=True) as connection:
        flags = ["--data", str(own / "files"), "--database-url", url]

        def execute(text: str) -> list[Any]:
            cursor = connection.execute(text.encode())
            return cursor.fetchall() if cursor.description else []

        with started(flags, own) as server:
            yield Hub(server, flags, execute, repositories)


def measure(hubs: list[Hub], rounds: int, only: str) -> None:
    """Print the times of each kind of request; the hubs take turns."""
    print(f"{'milliseconds':<34} {'small: p50':>10} {'p99':>7} {'large: p50':>11} {'p99':>7} {'CPU':>7}  ratio of p50")
    for name, request in REQUESTS.items():
        if only and only not in name:
            continue
        times: list[list[float]] = [[] for _ in hubs]
        for hub in hubs:
            for _ in range(WARM_UP):
                request(hub)
        used = hubs[-1].server.cpu()
        for _ in range(rounds):
            for found, hub in zip(times, hubs, strict=True):
                begun = time.perf_counter()
                request(hub)
                found.append((time.perf_counter() - begun) * 1000)
        used = (hubs[-1].server.cpu() - used) * 1000 / rounds
        small, large = (statistics.quantiles(found, n=100) for found in times)
        row = f"{name:<34} {small[49]:>10.2f} {small[98]:>7.2f} {large[49]:>11.2f} {large[98]:>7.2f} {used:>7.2f}"
        print(f"{row}  {large[49] / small[49]:.2f}", flush=True)


def collect_garbage(hub: Hub) -> None:
    """Print how long garbage collection takes after tags were deleted, in proportion to them."""
    for deleted in (each for each in DELETED if each <= hub.repositories):
        (last,) = hub.execute("SELECT max(repository_id) FROM tags")
        first = int(last[0]) - deleted // 10
        tags = hub.execute(f"SELECT count(*) FROM tags WHERE repository_id > {first}")[0][0] if deleted > 1 else 1
        which = f"repository_id > {first}" if deleted > 1 else f"repository_id = {last[0]}"
        before = hub.execute("SELECT count(*) FROM manifests WHERE free_after IS NOT NULL")[0][0]
        # As if their tags were deleted longer ago than the grace period.
        hub.execute(f"DELETE FROM tags WHERE {which}")
        hub.execute(f"UPDATE manifests SET free_after = '2025-01-01 00:00:00.000000' WHERE {which}")
        marked = hub.execute("SELECT count(*) FROM manifests WHERE free_after IS NOT NULL")[0][0] - before
        begun = time.perf_counter()
        command = [str(HYTHE), "admin", "gc", "--grace-period", "0s", *hub.flags]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        taken = time.perf_counter() - begun
        freed = done.stdout.rstrip().rpartition("\n")[2]
        print(f"gc of {tags:,} tags and {marked:,} manifests: {taken:.2f} s ({freed})", flush=True)


def main() -> None:
    """Read the flags and measure."""
    parser = argparse.ArgumentParser(description="Measure a hub with very many repositories.")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/metadata"))
    parser.add_argument("--repositories", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--only", default="", help="measure only requests whose names contain this text")
    parser.add_argument("--no-gc", action="store_true", help="delete nothing")
    flags = parser.parse_args()
    hub_of = sqlite_hub if flags.database == "sqlite" else postgresql_hub
    with hub_of(flags.folder, SMALL) as small, hub_of(flags.folder, flags.repositories) as large:
        print(f"{flags.database}: {SMALL:,} and {flags.repositories:,} repositories", flush=True)
        starts = [hub.server.started_in for hub in (small, large)]
        print(f"from start to first response: small {starts[0]:.2f} s, large {starts[1]:.2f} s", flush=True)
        measure([small, large], flags.rounds, flags.only)
        if not flags.no_gc:
            collect_garbage(large)


if __name__ == "__main__":
    main()
