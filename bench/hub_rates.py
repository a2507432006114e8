"""Request rates of the hub on SQLite or PostgreSQL; ``bench.registry`` runs them.

distribution v3 served 3.7 times the manifests of docker-registry 2.8.2 on a reference machine, and 1.46 times its small
pushes; so a goal of N times v3 is a ratio of 3.7 N and 1.46 N here.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.parts.postgresql import kept_postgresql_server
from tests.parts.process import program

from bench.pushes import push_small_blobs
from bench.servers import HYTHE, Server, docker_registry, hythe_hub, request

CONNECTIONS = 32
SECONDS = 3.0
PUSHERS = 4
BLOB_SIZE = 20_000
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "autovacuum": "on"}


class Target(NamedTuple):
    """A server with what requests to it need: the headers of the registry's API, and those of a user."""

    server: Server
    token: dict[str, str]
    user: dict[str, str]


@contextmanager
def database(kind: str, folder: Path) -> Iterator[str]:
    """Yield the URL of a database with the schema: "" for SQLite, otherwise a PostgreSQL server's that is durable."""
    if kind == "sqlite":
        yield ""
        return
    folder.chmod(0o711)
    with kept_postgresql_server(folder / "postgresql", DURABLE) as server:
        url = server.create()
        subprocess.run([str(HYTHE), "admin", "upgrade", "--database-url", url], check=True, capture_output=True)
        yield url


def gets(target: Target, path: str, headers: dict[str, str]) -> float:
    """Return GET requests per second over 32 connections, measured by wrk after one request that loads what is new."""
    request("GET", target.server.url + path, None, headers)
    words = [program("wrk", "wrk"), "-t", "1", "-c", str(CONNECTIONS), "-d", f"{SECONDS:g}s"]
    for name, value in headers.items():
        words += ["-H", f"{name}: {value}"]
    said = subprocess.run([*words, target.server.url + path], check=True, capture_output=True, text=True).stdout
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if found is None or "Non-2xx" in said or not float(found[1]):
        raise RuntimeError(said)
    return float(found[1])


class Pushing:
    """Four clients that push 4 KiB blobs to a server while the block runs; then ``rate`` is blobs per second."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._stop = threading.Event()
        self._pushed = [0] * PUSHERS
        self._threads = [threading.Thread(target=self._push, args=(number,)) for number in range(PUSHERS)]
        self.rate = 0.0

    def _push(self, number: int) -> None:
        for _ in push_small_blobs(self._target.server.port, "bench/app", self._target.token):
            self._pushed[number] += 1
            if self._stop.is_set():
                return

    def __enter__(self) -> Pushing:
        self._begun = time.perf_counter()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self.rate = sum(self._pushed) / (time.perf_counter() - self._begun)


Measured = Callable[[Target], tuple[float, ...]]


def compare(what: str, rows: tuple[str, ...], targets: dict[str, Target], rounds: int, measured: Measured) -> None:
    """Measure the targets in turn; print each row's medians, and their ratio to the first target's."""
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in targets}
    cpu: dict[str, float] = dict.fromkeys(targets, 0.0)
    for _ in range(rounds):
        for name, target in targets.items():
            before = target.server.cpu()
            found[name].append(measured(target))
            cpu[name] += target.server.cpu() - before
    for place, row in enumerate(rows):
        medians = {name: statistics.median(each[place] for each in rates) for name, rates in found.items()}
        first, *others = medians
        ratios = "   ".join(
            f"{name} {medians[name]:9,.0f} /s (ratio {medians[first] / medians[name]:.2f})" for name in others
        )
        print(f"{what + row:<52} {first} {medians[first]:9,.0f} /s   {ratios}", flush=True)
    requests = {name: sum(sum(each) for each in rates) * SECONDS for name, rates in found.items()}
    each = ", ".join(f"{name} {used / requests[name] * 1e6:,.0f} us" for name, used in cpu.items())
    print(f"    CPU of the server for each: {each}", flush=True)


def sign_up(hub: Server) -> Target:
    """Create a user with a repository, and return what requests need."""
    user = json.dumps({"username": "bench", "email": "bench@example.org", "password": "a-long-password"}).encode()
    request("POST", f"{hub.url}/api/v1/users", user, {"Content-Type": "application/json"})
    basic = {"Authorization": "Basic YmVuY2g6YS1sb25nLXBhc3N3b3Jk"}
    reply = json.loads(request("GET", hub.url + _token_path(hub), None, basic))
    return Target(hub, {"Authorization": f"Bearer {reply['token']}"}, basic)


def _token_path(hub: Server) -> str:
    return f"/token?service=127.0.0.1:{hub.port}&scope=repository:bench/app:pull,push"


def measure_rates(folder: Path, kind: str, rounds: int, push_image: Callable[[Target], str]) -> None:
    """Measure a hub with this kind of database, docker-registry, and with PostgreSQL a hub on SQLite.

    ``push_image`` pushes an image to ``bench/app:latest`` and a blob of BLOB_SIZE, whose digest it returns.
    """
    with ExitStack() as stack:
        theirs = Target(stack.enter_context(docker_registry(folder)), {}, {})
        url = stack.enter_context(database(kind, folder))
        hub = sign_up(stack.enter_context(hythe_hub(folder, url)))
        peers = {"hythe": hub, "docker-registry": theirs}
        digests = {target.server.port: push_image(target) for target in peers.values()}
        _measure_registry(peers, digests, rounds)
        if kind == "postgresql":
            (folder / "sqlite").mkdir()
            embedded = sign_up(stack.enter_context(hythe_hub(folder / "sqlite")))
            push_image(embedded)
            _measure_hub({"PostgreSQL": hub, "SQLite": embedded}, rounds)


def _measure_registry(peers: dict[str, Target], digests: dict[int, str], rounds: int) -> None:
    def manifests(target: Target) -> float:
        accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
        return gets(target, "/v2/bench/app/manifests/latest", target.token | accept)

    def while_pushing(target: Target) -> tuple[float, ...]:
        with Pushing(target) as pushing:
            read = manifests(target)
        return read, pushing.rate

    def pushes(target: Target) -> tuple[float, ...]:
        with Pushing(target) as pushing:
            time.sleep(SECONDS)
        return (pushing.rate,)

    def blobs(target: Target) -> tuple[float, ...]:
        return (gets(target, f"/v2/bench/app/blobs/{digests[target.server.port]}", target.token),)

    compare("GET of a manifest", ("",), peers, rounds, lambda target: (manifests(target),))
    compare("while 4 clients push 4 KiB", (": GET of a manifest", ": pushes"), peers, rounds, while_pushing)
    compare("pushes of 4 KiB by 4 clients", ("",), peers, rounds, pushes)
    compare("GET of a blob of 20 kB", ("",), peers, rounds, blobs)


def _measure_hub(hubs: dict[str, Target], rounds: int) -> None:
    for what, path, signed_in in (
        ("token requests", "", True),
        ("pages of a repository", "/bench/app", False),
        ("searches", "/api/v1/search?q=bench", False),
    ):

        def rate(target: Target, path: str = path, signed_in: bool = signed_in) -> tuple[float, ...]:
            return (gets(target, path or _token_path(target.server), target.user if signed_in else {}),)

        compare(what, ("",), hubs, rounds, rate)


def random_blob() -> bytes:
    """Return a new blob of BLOB_SIZE."""
    return os.urandom(BLOB_SIZE)
