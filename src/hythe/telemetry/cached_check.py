"""A health check that runs at most once a second, however many ask: probes must not be a way to cause load."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic


class CheckTimeout(Exception):
    """The check did not end in time."""


class CachedCheck:
    """Runs a check when its last result is too old. All who ask at the same time share one run."""

    def __init__(self, check: Callable[[], Awaitable[object]], max_age: float = 1.0, timeout: float = 2.0) -> None:
        """``check`` raises what is wrong; its result is used for ``max_age`` seconds. ``timeout``: of one check."""
        self._check = check
        self._max_age = max_age
        self._timeout = timeout
        self._ended = float("-inf")
        self._problem: Exception | None = None
        self._running: asyncio.Task[None] | None = None

    async def require(self) -> None:
        """Return if the check succeeds. Raises what it raises, and CheckTimeout."""
        if monotonic() - self._ended > self._max_age:
            if self._running is None:
                self._running = asyncio.create_task(self._run())
            await asyncio.shield(self._running)
        if self._problem is not None:
            raise self._problem

    async def _run(self) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await self._check()
            self._problem = None
        except TimeoutError:
            self._problem = CheckTimeout(f"no response within {self._timeout:g} s")
        except Exception as error:  # of any kind: a check that cannot be made has failed
            self._problem = error
        finally:
            self._ended = monotonic()
            self._running = None
