"""Work beside the answers."""

from __future__ import annotations

import asyncio

import pytest

from hythe.server.background import running


def test_what_breaks_is_told_when_it_happens(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody awaits the work before the server stops, so the log is where the operator reads of its end."""

    async def breaks() -> None:
        raise RuntimeError("unforeseen")

    async def scenario() -> bool:
        async with running(breaks(), asyncio.Event().wait()):  # type: ignore[arg-type]
            for _ in range(3):
                await asyncio.sleep(0)
            return "unforeseen" in caplog.text

    assert asyncio.run(scenario())
