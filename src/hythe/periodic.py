"""Work that is done from time to time beside the answers."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

_LOG = structlog.get_logger()


async def repeat(work: Callable[[], Awaitable[object]], pause: float, about: str) -> None:
    """Do ``work`` every ``pause`` seconds, for ever: what goes wrong is logged, and tried again in the next round."""
    while True:
        try:
            await work()
        except Exception as error:
            # A round that fails, for whatever reason, must not be the last one: nobody would notice.
            _LOG.warning("a round of background work failed", about=about, error=f"{type(error).__name__}: {error}")
        await asyncio.sleep(pause)
