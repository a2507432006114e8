"""Periodic background tasks."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

from hythe.telemetry.metrics import TASK_FAILURES

_LOG = structlog.get_logger()


async def repeat(
    task: Callable[[], Awaitable[object]], interval: float, name: str, wanted: asyncio.Event | None = None
) -> None:
    """Run ``task`` until cancelled, with a pause of ``interval`` seconds; failures are logged and do not stop it.

    ``wanted``, once set, ends the pause.
    """
    wanted = wanted or asyncio.Event()
    while True:
        wanted.clear()
        try:
            await task()
        except Exception as error:
            # One failure of any kind must not stop a periodic task: it would stay stopped until the next restart.
            TASK_FAILURES.add(name)
            _LOG.warning("periodic task failed", task=name, error=f"{type(error).__name__}: {error}")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(wanted.wait(), interval)
