"""Measures what no event says, off the path of requests: the event loop's lag, queues, stored bytes, disk space."""

import asyncio
import os
import platform
import resource
import shutil
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias

from hythe.database import Database, QueryTimeout, Session
from hythe.periodic import repeat
from hythe.telemetry import metrics
from hythe.telemetry.instruments import BEFORE_SNAPSHOT

LAG_INTERVAL = 0.5
"""Seconds between two measurements of the event loop's lag."""

MEASURE_INTERVAL = 15.0
"""Seconds between two measurements of queues and stored bytes, which read the database."""

TIME_LIMIT = 4.0
"""Seconds that one such statement may take; then its gauges keep their values."""

Measurement: TypeAlias = Callable[[Session], Awaitable[None]]


async def measure_loop_lag() -> None:
    """Record how late a timer is, until cancelled: what blocks the loop delays every request by as much."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LAG_INTERVAL
        await asyncio.sleep(LAG_INTERVAL)
        metrics.LOOP_LAG.observe(max(0.0, loop.time() - due))


async def measure(database: Database, data: Path, measurements: Sequence[Measurement]) -> None:
    """Set the gauges of the disk and of these measurements every MEASURE_INTERVAL, until cancelled."""

    async def once() -> None:
        usage = await asyncio.to_thread(shutil.disk_usage, data)
        metrics.DISK_FREE.set(usage.free)
        metrics.DISK_SIZE.set(usage.total)
        for measurement in measurements:
            with suppress(QueryTimeout):
                async with database.reading_long(TIME_LIMIT) as session:
                    await measurement(session)

    await repeat(once, MEASURE_INTERVAL, "metrics")


def describe_process() -> None:
    """Let each snapshot of the metrics contain this process: its version, CPU seconds, memory and files."""
    metrics.BUILD_INFO.set(1, version("hythe"), platform.python_version())
    metrics.PROCESSES.set(1)
    metrics.PROCESS_START.set(time.time())
    if _describe not in BEFORE_SNAPSHOT:
        BEFORE_SNAPSHOT.append(_describe)


def _describe() -> None:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    metrics.PROCESS_CPU.cell().value = usage.ru_utime + usage.ru_stime
    metrics.PROCESS_MAX_FILES.set(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    metrics.PROCESS_MEMORY.set(pages * os.sysconf("SC_PAGE_SIZE"))
    metrics.PROCESS_FILES.set(sum(1 for _ in Path("/proc/self/fd").iterdir()))
