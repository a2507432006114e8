"""A discrete-event simulation of a hub: processes, the database's cores, and the question that requests share.

A request takes half of its hub time on its process, then asks what has changed if it is answered from memory, takes its
time on the database, waits for what uses no CPU (disks, the network), and takes the rest of its hub time. Processes
and cores serve in the order of arrival. Requests of one process share a question as `hythe.database.postgresql_changes`
does: a request waits for the next one that begins. Times are exponentially distributed around the measured means.
"""

from __future__ import annotations

import heapq
import itertools
import random
import statistics
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

Event = Callable[[], None]


@dataclass(frozen=True)
class Cost:
    """Mean seconds of one kind of request."""

    hub: float
    database: float = 0.0
    wait: float = 0.0
    """Without CPU: what a request takes on an idle machine, less the CPU time."""
    client: float = 0.0
    """On the first core of the database, where the load generator runs too; 0 unless it does."""
    asks: bool = False
    """Whether it is answered from memory after a shared question; other kinds include what they ask."""


@dataclass(frozen=True)
class Installation:
    """What serves: processes of all servers together, and cores of the database."""

    processes: int
    cores: int
    question: Cost | None = None
    """One question for changes; None: SQLite, which needs none."""
    hub_speed: float = 1.0
    """The share of a core that each process gets."""
    database_speed: float = 1.0


@dataclass(frozen=True)
class Outcome:
    """What a simulation found."""

    rate: float
    """Requests per second."""
    p50: float
    p99: float
    hub_use: float
    """The share of time that processes are busy."""
    database_use: float
    questions: float
    """Questions per second."""


@dataclass
class Station:
    """Cores that take jobs from one queue."""

    clock: Clock
    cores: int
    speed: float = 1.0
    running: int = 0
    used: float = 0.0
    queue: deque[tuple[float, Event]] = field(default_factory=deque)

    def serve(self, mean: float, then: Event) -> None:
        """Run a job once a core is free, then an event."""
        seconds = self.clock.source.expovariate(self.speed / mean) if mean else 0.0
        if self.running < self.cores:
            self._run(seconds, then)
        else:
            self.queue.append((seconds, then))

    def _run(self, seconds: float, then: Event) -> None:
        self.running += 1
        self.used += seconds
        self.clock.after(seconds, lambda: self._end(then))

    def _end(self, then: Event) -> None:
        self.running -= 1
        if self.queue:
            self._run(*self.queue.popleft())
        then()


class Clock:
    """Runs events in the order of their times."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.source = random.Random(seed)
        self._events: list[tuple[float, int, Event]] = []
        self._numbers = itertools.count()

    def after(self, seconds: float, event: Event) -> None:
        """Run an event in some seconds."""
        heapq.heappush(self._events, (self.now + seconds, next(self._numbers), event))

    def step(self) -> None:
        """Run the next event."""
        self.now, _, event = heapq.heappop(self._events)
        event()


class Process:
    """A process of a server, with the question that its requests share."""

    def __init__(self, clock: Clock, database: Station, setup: Installation) -> None:
        self._clock = clock
        self._database = database
        self._setup = setup
        self.hub = Station(clock, 1, setup.hub_speed)
        self.questions = 0
        self._waiting: list[Event] = []
        self._asking = False

    def handle(self, cost: Cost, then: Event) -> None:
        """Handle a request, then run an event."""

        def ask() -> None:
            if cost.asks and self._setup.question is not None:
                self._ask(read)
            else:
                read()

        def read() -> None:
            if cost.database:
                self._database.serve(cost.database, wait)
            else:
                wait()

        def wait() -> None:
            self._clock.after(cost.wait, lambda: self.hub.serve(cost.hub / 2, then))

        self.hub.serve(cost.hub / 2, ask)

    def _ask(self, then: Event) -> None:
        self._waiting.append(then)
        if not self._asking:
            self._asking = True
            self._next_question()

    def _next_question(self) -> None:
        question = self._setup.question
        assert question is not None
        answered, self._waiting = self._waiting, []
        self.questions += 1

        def answer() -> None:
            for then in answered:
                then()
            if self._waiting:
                self._next_question()
            else:
                self._asking = False

        def on_database() -> None:
            self._database.serve(question.database, lambda: self._clock.after(question.wait, answer))

        self.hub.serve(question.hub, on_database)


def simulate(
    setup: Installation,
    mix: dict[Cost, float],
    requests: int,
    *,
    rate: float = 0.0,
    clients: int = 0,
    seed: int = 1,
) -> Outcome:
    """Simulate requests that arrive at a rate, or clients that send the next one after each response.

    ``mix`` weighs the kinds of requests. The first fifth of the requests does not count.
    """
    clock = Clock(seed)
    database = Station(clock, setup.cores, setup.database_speed)
    processes = [Process(clock, database, setup) for _ in range(setup.processes)]
    kinds, weights = list(mix), list(mix.values())
    times: list[float] = []
    turns = itertools.cycle(processes)

    def send() -> None:
        begun = clock.now
        # A client keeps its connection, and so its process; others spread at random.
        process = next(turns) if clients else clock.source.choice(processes)
        cost = clock.source.choices(kinds, weights)[0]

        def end() -> None:
            times.append(clock.now - begun)
            if clients:
                send()

        database.serve(cost.client, lambda: process.handle(cost, end)) if cost.client else process.handle(cost, end)

    def arrive() -> None:
        send()
        clock.after(clock.source.expovariate(rate), arrive)

    for _ in range(clients):
        send()
    if rate:
        arrive()
    warm = requests // 5
    while len(times) < warm:
        clock.step()
    stations = [process.hub for process in processes]
    begun, asked = clock.now, sum(process.questions for process in processes)
    before, earlier = sum(each.used for each in stations), database.used
    while len(times) < requests:
        clock.step()
    seconds = clock.now - begun
    cuts = statistics.quantiles(times[warm:], n=100)
    return Outcome(
        (requests - warm) / seconds,
        cuts[49],
        cuts[98],
        min((sum(each.used for each in stations) - before) / seconds / setup.processes, 1.0),
        min((database.used - earlier) / seconds / setup.cores, 1.0),
        (sum(process.questions for process in processes) - asked) / seconds,
    )
