"""A capacity model of hubs of all sizes: what saturates when. See docs/scale.md.

    python -m bench.scale                         # predicts from scale_costs.json; prints the error of the model
    python -m bench.scale --measure               # measures scale_costs.json again, with 1,000,000 repositories
    python -m bench.scale --write docs/scale.md   # puts the tables into the document

The peer is the hub itself: the same simulation also predicts a run that was measured on this machine.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.scale_costs import CONNECTIONS, COSTS, ENGINES, MIX, measure
from bench.scale_model import Cost, Installation, Outcome, simulate

BEGIN, END = "<!-- python -m bench.scale --write: begin -->", "<!-- end -->"

PULL = {
    "manifest": 1.45,
    "manifest not in memory": 0.05,
    "token": 0.5,
    "redirect": 1.0,
    "page": 0.01,
    "search": 0.002,
    "push": 0.005,
}
"""Requests for each pull: most pulls find the layers in place, and clients keep a token for several requests."""

NEARBY = 0.3e-3
"""Seconds to a database on another machine and back, in the same network."""

USE = 0.7
"""The share of the highest rate at which latency is predicted."""

REQUESTS = 40_000
CLIENTS = 24
"""Of each process, for the highest rate."""

CONNECTIONS_OF_PROCESS = 21
"""To PostgreSQL, at most."""

TARGET = 100_000
"""Pulls per second."""

REPOSITORIES = 10_000_000
TAGS, MANIFESTS, BLOBS = 10.2, 1.76, 3.5
"""For each repository, as in the hub of ``bench.large_hub``; and an account for ten repositories."""

DESCRIPTIONS = {
    "manifest": "GET of a manifest by tag, from memory",
    "manifest not in memory": "GET of a manifest by tag, not in memory",
    "token": "access token for a personal access token",
    "redirect": "GET of a blob, redirected to the object store",
    "page": "page of a repository",
    "search": "search for two words",
    "push": "push of an image with one blob: 3 requests and a token",
}


@dataclass(frozen=True)
class Size:
    """Servers and their database."""

    name: str
    engine: str
    servers: int
    processes: int
    cores: int
    """Of the database."""

    @property
    def near(self) -> bool:
        """Whether the database is on the same machine."""
        return self.servers == 1


SIZES = (
    Size("1 server, SQLite", "sqlite", 1, 1, 1),
    Size("1 server, PostgreSQL on it", "postgresql", 1, 4, 4),
    Size("4 servers", "postgresql", 4, 8, 16),
    Size("16 servers", "postgresql", 16, 8, 32),
    Size("64 servers", "postgresql", 64, 8, 64),
    Size("64 servers, larger database", "postgresql", 64, 8, 128),
)


class Model:
    """The measured costs of one engine."""

    def __init__(self, costs: dict[str, Any], engine: str) -> None:
        self.found = costs[engine]
        self._shared = self.found.get("question")

    def cost(self, kind: str, distance: float, *, with_client: bool = False) -> Cost:
        """Return the cost of a kind of request, with a database at some distance."""
        found = self.found["requests"][kind]
        hub, database = found["hub"] / 1e6, found["database"] / 1e6
        client = found["client"] / 1e6
        asks = self._shared is not None and kind in ("manifest", "redirect")
        if asks:
            hub, database = max(hub - self._share("hub"), hub / 4), 0.0
        idle = 0.0 if asks else max(found["single"] / 1e6 - hub - database - client, 0.0)
        # A cached answer needs no way to the database except for the question.
        way = distance if database else 0.0
        return Cost(hub, database, idle + way, client if with_client else 0.0, asks)

    def _share(self, part: str) -> float:
        """Return the part of the shared question in a request under load, in seconds."""
        return float(self._shared[part]) / float(self._shared["sharing"]) / 1e6

    def question(self, distance: float) -> Cost | None:
        """Return the cost of a question for changes; None if there is none."""
        if self._shared is None:
            return None
        return Cost(self._shared["hub"] / 1e6, self._shared["database"] / 1e6, distance)

    def mix(self, weights: dict[str, float], distance: float, *, with_client: bool = False) -> dict[Cost, float]:
        """Return costs with their weights."""
        return {self.cost(kind, distance, with_client=with_client): weight for kind, weight in weights.items()}


def predict(costs: dict[str, Any], size: Size) -> tuple[Outcome, Outcome]:
    """Return the outcome with as many requests as possible, and that with ``USE`` of them."""
    model, distance = Model(costs, size.engine), 0.0 if size.near else NEARBY
    processes = size.servers * size.processes
    setup = Installation(processes, size.cores, model.question(distance))
    run = partial(simulate, setup, model.mix(PULL, distance), max(REQUESTS, 200 * processes))
    highest = run(clients=CLIENTS * processes)
    return highest, run(rate=highest.rate * USE)


def validated(costs: dict[str, Any], engine: str) -> tuple[dict[str, float], Outcome]:
    """Return the measured run of a mix, and what the model predicts for it."""
    model, run = Model(costs, engine), costs[engine]["validation"]
    speeds = run["hub_speed"], run["database_speed"]
    setup = Installation(1, 1, model.question(0.0), *speeds)
    return run, simulate(setup, model.mix(MIX, 0.0, with_client=True), REQUESTS, clients=CONNECTIONS)


def _row(*cells: object) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def _header(*cells: str) -> list[str]:
    return [_row(*cells), "|---" * len(cells) + "|"]


def _time(seconds: float) -> str:
    return f"{seconds * 1000:,.1f} ms"


def request_table(costs: dict[str, Any]) -> list[str]:
    """Return what each kind of request costs."""
    lines = _header("CPU of a request", "SQLite", "PostgreSQL: hub", "PostgreSQL: database", "in a pull")
    for kind, text in DESCRIPTIONS.items():
        small, large = (costs[engine]["requests"][kind] for engine in ENGINES)
        cells = [f"{each:,.0f} µs" for each in (small["hub"], large["hub"], large["database"])]
        lines.append(_row(text, *cells, PULL[kind]))
    question = costs["postgresql"]["question"]
    cells = [f"{question['hub']:,.0f} µs", f"{question['database']:,.0f} µs"]
    lines.append(_row("one question for changes, shared by the requests that wait", "-", *cells, ""))
    return lines


def size_table(costs: dict[str, Any]) -> list[str]:
    """Return what installations serve."""
    titles = ("processes", "cores of the database", "pulls/s", "saturated", "at 70%: median, p99")
    lines = _header("installation", *titles, "questions/s", "connections")
    for size in SIZES:
        highest, usual = predict(costs, size)
        busy = {"processes": highest.hub_use, "database": highest.database_use if size.engine != "sqlite" else 0.0}
        first = max(busy, key=lambda name: busy[name])
        shares = f"{first} ({busy[first]:.0%})"
        if size.engine != "sqlite":
            other = min(busy, key=lambda name: busy[name])
            shares += f"; {other} {busy[other]:.0%}"
        pulls = highest.rate / sum(PULL.values())
        latency = f"{_time(usual.p50)}, {_time(usual.p99)}"
        processes = size.servers * size.processes
        connections = f"{processes * CONNECTIONS_OF_PROCESS:,}" if size.engine != "sqlite" else "-"
        cores = size.cores if size.engine != "sqlite" else "-"
        cells = (size.name, processes, cores, f"{pulls:,.0f}", shares, latency)
        lines.append(_row(*cells, f"{usual.questions:,.0f}" if connections != "-" else "-", connections))
    return lines


def row_table(costs: dict[str, Any]) -> list[str]:
    """Return the bytes of rows, and of a hub with ``REPOSITORIES``."""
    lines = _header("bytes of each, with indexes", "SQLite", "PostgreSQL", f"number with {REPOSITORIES:,} repositories")
    each = {"account": 0.1, "repository": 1, "tag": TAGS, "move of a tag": TAGS, "manifest": MANIFESTS, "blob": BLOBS}
    totals = dict.fromkeys(ENGINES, 0.0)
    for kind, number in each.items():
        sizes = {engine: costs[engine]["rows"][kind]["bytes"] for engine in ENGINES}
        count = number * REPOSITORIES
        for engine in ENGINES:
            totals[engine] += sizes[engine] * count
        lines.append(_row(kind, *(f"{sizes[engine]:,.0f}" for engine in ENGINES), f"{count:,.0f}"))
    lines.append(_row("all together", *(f"{totals[engine] / 1e9:,.0f} GB" for engine in ENGINES), ""))
    return lines


def need(costs: dict[str, Any]) -> list[str]:
    """Return the sentences about what ``TARGET`` pulls a second need."""
    model = Model(costs, "postgresql")
    hub = sum(model.cost(kind, NEARBY).hub * weight for kind, weight in PULL.items())
    database = sum(model.cost(kind, NEARBY).database * weight for kind, weight in PULL.items())
    question = model.question(NEARBY)
    assert question is not None
    # At worst a process asks again as soon as it has its answer, and never more often than it has requests.
    asking = 1 / (question.hub + question.database + NEARBY)
    processes = TARGET * hub / USE / max(1 - question.hub * asking, 0.2)
    questions = processes * asking
    all_cores, asking_cores = ((each + questions * question.database) / USE for each in (TARGET * database, 0.0))
    return [
        f"{TARGET:,} pulls a second take {TARGET * hub:,.0f} cores of hub and {TARGET * database:,.0f} cores of "
        f"PostgreSQL without questions for changes. At {USE:.0%} use, and with {asking:,.0f} questions a second of "
        f"each process, that is {processes:,.0f} processes and {all_cores:,.0f} cores of PostgreSQL, "
        f"{asking_cores:,.0f} of them for at most {questions:,.0f} questions.",
    ]


def validation_table(costs: dict[str, Any]) -> list[str]:
    """Return how far predictions are from what was measured."""
    lines = _header("a mix on two cores, 32 connections", "measured", "predicted", "error")
    for engine in ENGINES:
        run, outcome = validated(costs, engine)
        name = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}[engine]
        error = f"{outcome.rate / run['rate'] - 1:+.0%}"
        lines.append(_row(f"{name}: requests/s", f"{run['rate']:,.0f}", f"{outcome.rate:,.0f}", error))
        for cut, predicted in (("p50", outcome.p50), ("p99", outcome.p99)):
            measured = run[cut] / 1e6
            error = f"{predicted / measured - 1:+.0%}"
            lines.append(_row(f"{name}: {cut}", _time(measured), _time(predicted), error))
    return lines


def tables(costs: dict[str, Any]) -> str:
    """Return all tables as Markdown."""
    load = " to ".join(f"{each:.1f}" for each in costs["load"])
    mix = ", ".join(f"{weight:.0%} {kind}" for kind, weight in MIX.items())
    model, question = costs["postgresql"], costs["postgresql"]["question"]
    return "\n".join(
        [
            f"Measured on {costs['date']} on {costs['machine']}; load {load} (below 1: nothing else ran), with "
            f"{costs['repositories']:,} repositories.",
            "",
            *request_table(costs),
            "",
            f"{question['sharing']:.1f} requests shared a question with {CONNECTIONS} connections. A process took "
            f"{model['memory of a process']:,.0f} MiB, and a connection {model['memory of a connection']:,.1f} MiB of "
            "PostgreSQL.",
            "",
            *size_table(costs),
            "",
            *need(costs),
            "",
            *row_table(costs),
            "",
            f"The model and a measured run ({mix}; the hub on one core, database and clients on the other):",
            "",
            *validation_table(costs),
        ]
    )


def write(path: Path, text: str) -> None:
    """Replace what is between the marks in a document. Raises ValueError if it has none."""
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} has no lines {BEGIN!r} and {END!r}")
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def main() -> None:
    """Read the flags; measure, predict, and print or write."""
    parser = argparse.ArgumentParser(description="Predict what installations of a hub serve.")
    parser.add_argument("--measure", action="store_true", help="measure the costs on this machine first")
    parser.add_argument(
        "--folder", type=Path, default=Path("/tmp/metadata"), help="where bench.metadata keeps its hubs"
    )
    parser.add_argument("--repositories", type=int, default=1_000_000)
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the tables into this document")
    flags = parser.parse_args()
    if flags.measure:
        measure(flags.folder, flags.repositories)
    text = tables(json.loads(COSTS.read_text()))
    if flags.write:
        write(flags.write, text)
    else:
        print(text)


if __name__ == "__main__":
    main()
