"""Background tasks that run while the server handles requests."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

from hythe.database.maintenance import Maintenance
from hythe.server.siblings import Siblings
from hythe.telemetry.metrics import TASK_FAILURES

log = logging.getLogger(__name__)


async def leading(
    siblings: Siblings | None, maintenance: Maintenance, tasks: Sequence[Callable[[], Coroutine[Any, Any, None]]]
) -> None:
    """Run endless tasks that one process of a server runs, from when this is that process on, until cancelled.

    They write, so they pause during maintenance.
    """
    if siblings is not None:
        await siblings.leads.wait()
    while True:
        await maintenance.ended.wait()
        async with running(*(task() for task in tasks)):
            await maintenance.begun.wait()


@asynccontextmanager
async def running(*coroutines: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run endless coroutines until the block ends, then cancel and await them.

    If one fails, the error is logged at once, and the server continues without it.
    """
    tasks = [asyncio.create_task(each) for each in coroutines]
    for task in tasks:
        task.add_done_callback(_log_failure)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _log_failure(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        TASK_FAILURES.add("ended")
        log.error("a background task failed and will not run again until the server is restarted", exc_info=error)
