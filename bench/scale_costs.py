"""Measures what requests and rows cost on this machine, for the capacity model of ``bench.scale``.

CPU times come from /proc, for the hub and the processes of PostgreSQL apart, so that they mean something on a machine
that others use, too. Times of a request on one connection do not.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import random
import re
import resource
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from tests.parts.process import program
from tests.parts.s3 import create_bucket, running_s3

from bench.hub_rates import database, sign_up
from bench.large_hub import LARGE_TAGS
from bench.metadata import Hub, postgresql_hub, sqlite_hub
from bench.registry import push_image
from bench.servers import TICKS, Server, hythe_hub

COSTS = Path(__file__).parent / "scale_costs.json"

CONNECTIONS = 32
SECONDS = 4.0
PUSHES = 100
TAGS = 20_000
"""Different ones that are asked for; wrk reads the requests while it measures."""

STATISTICS_DELAY = 11.0
"""Seconds after which an idle backend of PostgreSQL has reported its transactions."""

ENGINES = ("sqlite", "postgresql")

MIX = {"manifest": 0.70, "manifest not in memory": 0.05, "token": 0.15, "page": 0.08, "search": 0.02}
"""What the run sends that validates the model: it needs every kind more than users do."""

ROWS = {
    "account": ("users", ("users", "namespaces", "namespace_usage", "organization_members")),
    "repository": ("repositories", ("repositories", "hub_repositories", "catalog_entries", "collaborators", "search_")),
    "tag": ("tags", ("tags",)),
    "move of a tag": ("tag_moves", ("tag_moves",)),
    "manifest": ("manifests", ("manifests", "manifest_blobs")),
    "blob": ("blobs", ("blobs", "repository_blobs", "namespace_blobs")),
}
"""What is counted in which table, and the tables that grow with it; one that ends with "_" is a prefix."""

# Requests are lines of path and Authorization.
_SCRIPT = """
local lines, place = {}, 0
for line in io.lines("FILE") do
  local path, credential = line:match("^(%S+) ?(.*)$")
  local headers = {Accept = "application/vnd.oci.image.manifest.v1+json"}
  if credential ~= "" then headers["Authorization"] = credential end
  lines[#lines + 1] = wrk.format("GET", path, headers)
end
function request()
  place = place % #lines + 1
  return lines[place]
end
"""


@dataclass(frozen=True)
class Load:
    """What a load generator measured."""

    rate: float
    p50: float
    p99: float
    requests: int
    client: float
    """CPU seconds of the load generator."""


def load(port: int, lines: list[str], connections: int, seconds: float, prefix: tuple[str, ...] = ()) -> Load:
    """Send the requests in turn over some connections with wrk, which the words of ``prefix`` may start."""
    with tempfile.TemporaryDirectory() as folder:
        requests, script = Path(folder, "requests"), Path(folder, "script.lua")
        requests.write_text("\n".join(lines))
        script.write_text(_SCRIPT.replace("FILE", str(requests)))
        words = [*prefix, program("wrk", "wrk"), "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        said = subprocess.run(
            [*words, "-s", str(script), f"http://127.0.0.1:{port}"], check=True, capture_output=True, text=True
        ).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = re.search(r"50% +(\S+)[\s\S]*99% +(\S+)\s+(\d+) requests[\s\S]*Requests/sec: +(\S+)", said)
    if found is None or "Non-2xx" in said or found[3] == "0":
        raise RuntimeError(f"{lines[0]}\n{said}")
    client = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Load(float(found[4]), _seconds(found[1]), _seconds(found[2]), int(found[3]), client)


def _seconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(\D+)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}[unit]


@dataclass(frozen=True)
class PostgreSQL:
    """The processes of a server, and a connection to it."""

    connection: psycopg.Connection[Any]
    process: int

    @classmethod
    @contextlib.contextmanager
    def at(cls, url: str) -> Iterator[PostgreSQL]:
        """Connect to a server on this machine."""
        with psycopg.connect(url, autocommit=True) as connection:
            status = Path(f"/proc/{connection.info.backend_pid}/status").read_text()
            yield cls(connection, int(re.findall(r"PPid:\s+(\d+)", status)[0]))

    def processes(self) -> list[int]:
        """Return all processes of the server."""
        children = Path(f"/proc/{self.process}/task/{self.process}/children").read_text().split()
        return [self.process, *map(int, children)]

    def cpu(self) -> float:
        """Return the CPU seconds of all its processes, and of those that have ended."""
        used = 0
        for process in self.processes():
            with contextlib.suppress(FileNotFoundError):
                fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
                used += sum(int(each) for each in fields[11 : 15 if process == self.process else 13])
        return used / TICKS

    def transactions(self) -> int:
        """Return how many transactions were committed."""
        time.sleep(STATISTICS_DELAY)
        query = b"SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
        row = self.connection.execute(query).fetchone()
        assert row is not None
        return int(row[0])


@dataclass
class Meter:
    """Measures the CPU of a hub and of its database."""

    server: Server
    postgresql: PostgreSQL | None

    def used(self) -> tuple[float, float]:
        """Return the CPU seconds of the hub and of the database."""
        return self.server.cpu(), self.postgresql.cpu() if self.postgresql else 0.0

    def costs(self, lines: list[str]) -> dict[str, float]:
        """Return in microseconds what one of these requests costs under load, and how long it takes alone."""
        random.shuffle(lines)
        # The first requests of a kind open connections, prepare statements and compile templates.
        load(self.server.port, lines, CONNECTIONS, SECONDS)
        single = load(self.server.port, lines, 1, SECONDS / 2)
        random.shuffle(lines)
        before = self.used()
        shared = load(self.server.port, lines, CONNECTIONS, SECONDS)
        hub, database = (late - early for late, early in zip(self.used(), before, strict=True))
        micro = 1e6 / shared.requests
        return _rounded(
            hub=hub * micro, database=database * micro, client=shared.client * micro, single=single.p50 * 1e6
        )

    def question(self, lines: list[str]) -> dict[str, float]:
        """Return what one question for changes costs in microseconds, and how many requests share one under load.

        On one connection, each request asks one. Under load, the transactions of PostgreSQL are the questions.
        """
        assert self.postgresql is not None
        found = []
        for connections in (1, CONNECTIONS):
            began, before = self.postgresql.transactions(), self.used()
            done = load(self.server.port, lines, connections, SECONDS)
            hub, database = (late - early for late, early in zip(self.used(), before, strict=True))
            asked = self.postgresql.transactions() - began
            found.append((hub / done.requests * 1e6, database / asked * 1e6, asked / done.requests))
        (hub_alone, _, _), (hub_shared, database, share) = found
        hub = max(hub_alone - hub_shared, 0.0) / (1 - share)
        return _rounded(hub=min(hub, hub_shared / 2 / share), database=database, sharing=1 / share)


def _rounded(**figures: float) -> dict[str, float]:
    return {name: round(figure, 1) for name, figure in figures.items()}


def requests_of(hub: Hub) -> dict[str, list[str]]:
    """Return requests of each kind."""
    numbers = range(1, min(LARGE_TAGS, hub.repositories))
    chosen = random.sample(numbers, min(len(numbers), TAGS))
    tags = [f"{n // 100}.{n // 10 % 10}.{n % 10}" for n in chosen]
    service = f"127.0.0.1:{hub.server.port}"
    manifests = f"/v2/{hub.tagged}/manifests"
    own = [f"repository:{name}:pull" for name in hub.names]
    return {
        "manifest": [f"{manifests}/latest {hub.tags_bearer}"],
        "manifest not in memory": [f"{manifests}/{tag} {hub.tags_bearer}" for tag in tags],
        "token": [f"/token?service={service}&scope={scope} {hub.basic}" for scope in own],
        "page": [f"/{name}" for name in hub.names],
        "search": [f"/api/v1/search?q={quote(f'{hub.word()} {hub.word()}')}" for _ in range(500)],
    }


def measure_requests(hub: Hub, meter: Meter) -> dict[str, Any]:
    """Measure all kinds of requests to a large hub, and validate the model with a mix of them."""
    lines = requests_of(hub)
    hub.ask("/")  # which waits until all templates are compiled
    costs = {kind: meter.costs(each) for kind, each in lines.items()}
    for _ in range(PUSHES // 10):
        hub.push()
    before = meter.used()
    begun = time.perf_counter()
    for _ in range(PUSHES):
        hub.push()
    taken = time.perf_counter() - begun
    used, database = (late - early for late, early in zip(meter.used(), before, strict=True))
    costs["push"] = _rounded(
        hub=used / PUSHES * 1e6, database=database / PUSHES * 1e6, client=0.0, single=taken / PUSHES * 1e6
    )
    found: dict[str, Any] = {"requests": costs, "memory of a process": round(hub.server.memory())}
    if meter.postgresql is not None:
        found["question"] = meter.question(lines["manifest"])
        found["memory of a connection"] = round(_connection_memory(meter.postgresql), 1)
    found["validation"] = validate(meter, lines)
    return found


def _connection_memory(postgresql: PostgreSQL) -> float:
    """Return the MiB of a backend of a hub that has worked, without the memory that all share."""
    query = b"SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    memory = []
    for (process,) in postgresql.connection.execute(query).fetchall():
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
        memory.append(sum(int(each) for each in re.findall(r"Private_\w+:\s+(\d+)", text)) / 1024)
    return sum(memory) / max(len(memory), 1)


def validate(meter: Meter, lines: dict[str, list[str]]) -> dict[str, float]:
    """Measure a mix on two cores: one for the hub, one for the database and the load generator.

    ``hub_speed`` and ``database_speed`` are the shares of these cores that no other program used.
    """
    source = random.Random(3)
    kinds = source.choices(list(MIX), list(MIX.values()), k=50_000)
    mixed = [source.choice(lines[kind]) for kind in kinds]
    cores = sorted(os.sched_getaffinity(0))
    ours, theirs = cores[-1], cores[0]
    database = meter.postgresql.processes() if meter.postgresql else []
    for process, core in [(meter.server.process, ours), *((each, theirs) for each in database)]:
        for thread in Path(f"/proc/{process}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {core})
    load(meter.server.port, mixed, CONNECTIONS, SECONDS / 2)
    before, busy, begun = meter.used(), (_busy(ours), _busy(theirs)), time.perf_counter()
    done = load(meter.server.port, mixed, CONNECTIONS, SECONDS * 2, ("taskset", "--cpu-list", str(theirs)))
    seconds = time.perf_counter() - begun
    hub, used = (late - early for late, early in zip(meter.used(), before, strict=True))
    others = [_busy(ours) - busy[0] - hub, _busy(theirs) - busy[1] - used - done.client]
    speeds = [round(min(1.0, 1 - each / seconds), 3) for each in others]
    return {
        "rate": round(done.rate, 1),
        "p50": round(done.p50 * 1e6),
        "p99": round(done.p99 * 1e6),
        "hub_speed": speeds[0],
        "database_speed": speeds[1],
    }


def _busy(core: int) -> float:
    """Return the seconds that a core was not idle, for whichever program."""
    line = next(each for each in Path("/proc/stat").read_text().splitlines() if each.startswith(f"cpu{core} "))
    user, nice, system, _, _, *others = (int(each) for each in line.split()[1:9])
    return (user + nice + system + sum(others)) / TICKS


def measure_redirects(kind: str) -> dict[str, float]:
    """Measure GET of a blob in an object store, which redirects to the store."""
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as name, running_s3() as s3:
        folder = Path(name)
        create_bucket(s3, "hythe")
        os.environ.update(s3.env, HYTHE_BLOB_STORE="s3://hythe")
        try:
            with database(kind, folder) as url, hythe_hub(folder, url) as server:
                target = sign_up(server)
                digest = push_image(target)
                line = f"/v2/bench/app/blobs/{digest} {target.token['Authorization']}"
                if not url:
                    return Meter(server, None).costs([line])
                with PostgreSQL.at(url) as postgresql:
                    return Meter(server, postgresql).costs([line])
        finally:
            for variable in (*s3.env, "HYTHE_BLOB_STORE"):
                os.environ.pop(variable, None)


def sqlite_sizes(hub: Hub) -> dict[str, int]:
    """Return the bytes of each table with its indexes."""
    query = "SELECT name, sum(pgsize) FROM dbstat WHERE aggregate = true GROUP BY name"
    owners = dict(hub.execute("SELECT name, tbl_name FROM sqlite_schema"))
    sizes: dict[str, int] = {}
    for name, size in hub.execute(query):
        table = owners.get(name, name)
        sizes[table] = sizes.get(table, 0) + int(size)
    return sizes


def postgresql_sizes(hub: Hub) -> dict[str, int]:
    """Return the bytes of each table with its indexes."""
    query = "SELECT relname, pg_total_relation_size(oid) FROM pg_class WHERE relkind = 'r'"
    return {name: int(size) for name, size in hub.execute(query)}


def bytes_of_rows(hub: Hub, sizes: dict[str, int]) -> dict[str, dict[str, float]]:
    """Return for each kind of row how many there are, and the bytes of each, with all that belongs to it."""
    found = {}
    for kind, (counted, tables) in ROWS.items():
        ((count,),) = hub.execute(f"SELECT count(*) FROM {counted}")
        belonging = (
            size
            for table, size in sizes.items()
            if any(table == each or (each.endswith("_") and table.startswith(each)) for each in tables)
        )
        found[kind] = {"count": int(count), "bytes": round(sum(belonging) / count)}
    return found


def machine() -> str:
    """Return what this machine is."""
    text = Path("/proc/cpuinfo").read_text()
    model = re.findall(r"model name\s*:\s*(.+)", text)[0]
    return f"{os.cpu_count()} cores of an {model}, Linux {platform.release()}"


def measure(folder: Path, repositories: int) -> None:
    """Measure everything and write COSTS."""
    found: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": machine(),
        "load": [round(os.getloadavg()[0], 1)],
        "repositories": repositories,
    }
    os.environ["HYTHE_API_REQUESTS_PER_MINUTE"] = "0"  # no limit
    for kind in ENGINES:
        with contextlib.ExitStack() as stack:
            hub = stack.enter_context((sqlite_hub if kind == "sqlite" else postgresql_hub)(folder, repositories))
            postgresql = None
            if kind == "postgresql":
                postgresql = stack.enter_context(PostgreSQL.at(hub.flags[-1]))
            found[kind] = measure_requests(hub, Meter(hub.server, postgresql))
            sizes = sqlite_sizes(hub) if kind == "sqlite" else postgresql_sizes(hub)
            found[kind]["rows"] = bytes_of_rows(hub, sizes)
        found[kind]["requests"]["redirect"] = measure_redirects(kind)
        print(f"{kind}: {json.dumps(found[kind])}", flush=True)
    found["load"].append(round(os.getloadavg()[0], 1))
    COSTS.write_text(json.dumps(found, indent=2) + "\n")
