"""Runs work on documents of users in a process of its own, with bounds on time and memory.

C and Rust code that parses or renders holds Python's interpreter lock, so that a thread would not help: all other
users would wait. A process that exceeds a bound is killed, and the next task gets a new one.
"""

import asyncio
import contextlib
import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import TimeoutError as TookTooLong
from typing import ParamSpec, TypeVar

from pebble import ProcessExpired, ProcessPool

P = ParamSpec("P")
T = TypeVar("T")

INLINE_SIZE = 100_000
"""Bytes of a document that takes about a millisecond to parse; the event loop leaves larger ones to the process."""

TASK_SECONDS = 1.0
TASK_MEMORY = 512 << 20
"""Bytes of address space of the process, most of which its libraries take."""


class OffloadLimitExceeded(Exception):
    """The work took too long, or needed too much memory."""


class OffloadPool:
    """A process that runs one task at a time. It starts with the first task.

    The tasks of one owner wait for each other, so that an owner with many of them takes only one place in the line.
    """

    def __init__(self, *, seconds: float = TASK_SECONDS, memory: int = TASK_MEMORY) -> None:
        """Limit each task to ``seconds``, and the process to ``memory`` bytes."""
        self._seconds = seconds
        self._memory = memory
        self._pool: ProcessPool | None = None
        self._opening = asyncio.Lock()
        self._turns: dict[str, tuple[asyncio.Lock, int]] = {}

    @property
    def started(self) -> bool:
        """Whether there is a process."""
        return self._pool is not None

    @property
    def waiting(self) -> int:
        """How many owners have tasks that run or wait."""
        return len(self._turns)

    async def run(self, owner: str, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Return ``function(*arguments)``; function, arguments and result must be picklable.

        Raises OffloadLimitExceeded, and whatever the function raises.
        """
        async with self._turn(owner):
            pool = await self._opened()
            task = pool.schedule(function, args=arguments, kwargs=named, timeout=self._seconds)
            try:
                return await asyncio.wrap_future(task)
            except (TookTooLong, ProcessExpired, MemoryError) as error:
                raise OffloadLimitExceeded(f"it took more than {self._seconds:g} s or too much memory") from error

    async def _opened(self) -> ProcessPool:
        """Return the pool. Starting its process takes up to half a second, so that is left to a thread."""
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncio.to_thread(_open, self._memory)
            return self._pool

    @contextlib.asynccontextmanager
    async def _turn(self, owner: str) -> AsyncIterator[None]:
        lock, waiting = self._turns.get(owner, (asyncio.Lock(), 0))
        self._turns[owner] = lock, waiting + 1
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._turns.pop(owner)
            if waiting > 1:
                self._turns[owner] = lock, waiting - 1

    def close(self) -> None:
        """End the process and whatever it is doing."""
        if self._pool is not None:
            self._pool.stop()  # type: ignore[no-untyped-call]
            self._pool.join()
            self._pool = None


def _open(memory: int) -> ProcessPool:
    context = multiprocessing.get_context("spawn")
    pool = ProcessPool(1, initializer=_prepare, initargs=(memory,), context=context)
    pool.schedule(_do_nothing)
    return pool


def _do_nothing() -> None:
    """The first task starts the process."""


def _prepare(memory: int) -> None:
    """Limit this process, let SIGTERM end it at once, and let the server have the processor first."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # A library that runs out of memory would print its stack to the server's log.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    os.nice(10)
