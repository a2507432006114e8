"""Work in a process of its own: results, errors and bounds."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from hythe.offload import OffloadLimitExceeded, OffloadPool


@asynccontextmanager
async def opened(seconds: float = 1.0, memory: int = 512 << 20) -> AsyncIterator[OffloadPool]:
    pool = OffloadPool(seconds=seconds, memory=memory)
    try:
        yield pool
    finally:
        pool.close()


def grow(size: int) -> int:
    """Take this much memory."""
    return len(bytearray(size))


def kill_self() -> None:
    """Die as a process does that the kernel kills."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_results_and_errors_come_back() -> None:
    """A task's result is returned and its error raised."""

    async def work() -> None:
        async with opened() as pool:
            assert await pool.run("ann", divmod, 7, 2) == (3, 1)
            with pytest.raises(ZeroDivisionError):
                await pool.run("ann", divmod, 7, 0)

    asyncio.run(work())


@pytest.mark.parametrize(
    ("function", "argument"), [(time.sleep, 60), (grow, 4 << 30), (sum, range(10**12))], ids=["time", "memory", "loop"]
)
def test_what_exceeds_a_bound_ends(function: object, argument: object) -> None:
    """The process is killed, and the next task runs in a new one."""

    async def work() -> None:
        async with opened(seconds=0.3) as pool:
            with pytest.raises(OffloadLimitExceeded):
                await pool.run("ann", function, argument)  # type: ignore[arg-type]
            assert await pool.run("ann", len, "abc") == 3

    asyncio.run(work())


def test_a_process_that_dies_is_replaced() -> None:
    """Whatever ends the process ends one task only."""

    async def work() -> None:
        async with opened() as pool:
            with pytest.raises(OffloadLimitExceeded):
                await pool.run("ann", kill_self)
            assert await pool.run("ann", len, "abc") == 3

    asyncio.run(work())


def test_the_loop_runs_on() -> None:
    """C code that never lets go of the interpreter does not block the event loop."""

    async def work() -> float:
        async with opened(seconds=0.5) as pool:
            await pool.run("ann", len, "start")
            task = asyncio.create_task(pool.run("ann", sum, range(10**12)))
            longest, last = 0.0, time.perf_counter()
            while not task.done():
                await asyncio.sleep(0.001)
                longest, last = max(longest, time.perf_counter() - last), time.perf_counter()
            assert isinstance(task.exception(), OffloadLimitExceeded)
        return longest

    assert asyncio.run(work()) < 0.3


def test_one_owner_takes_one_place_in_the_line() -> None:
    """Another owner waits for one task of the first, not for all of them."""

    async def work() -> list[str]:
        ended: list[str] = []

        async def run(owner: str) -> None:
            await pool.run(owner, time.sleep, 0.05)
            ended.append(owner)

        async with opened() as pool:
            await asyncio.gather(*(run(owner) for owner in ["ann"] * 5 + ["ben"]))
        return ended

    assert asyncio.run(work()).index("ben") <= 1


def test_owners_who_are_done_are_forgotten() -> None:
    """Nothing grows with the number of owners."""

    async def work() -> None:
        async with opened() as pool:
            await asyncio.gather(*(pool.run(str(number), len, "abc") for number in range(20)))
            assert not pool.waiting

    asyncio.run(work())
