"""Runs what follows responses that were sent without a task: one task for all that are sent together."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import Context

log = logging.getLogger(__name__)


class Afterwards:
    """Calls functions one after the other, outside the context of any request."""

    def __init__(self) -> None:
        self._calls: list[Callable[[], Awaitable[None]]] = []
        self._task: asyncio.Task[None] | None = None

    def add(self, call: Callable[[], Awaitable[None]] | None) -> None:
        """Call it soon; None: nothing is to do."""
        if call is None:
            return
        self._calls.append(call)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), context=Context())

    async def _run(self) -> None:
        try:
            while self._calls:
                calls, self._calls = self._calls, []
                for call in calls:
                    try:
                        await call()
                    except Exception:
                        log.exception("what follows a response failed")
        finally:
            self._task = None
