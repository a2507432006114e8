"""Work beside the answers."""

from __future__ import annotations

import asyncio

import pytest

from hythe.server.background import running


def test_a_failure_is_logged_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """No one awaits a background task before the server is stopping, so its failure must be logged."""

    async def breaks() -> None:
        raise RuntimeError("unforeseen")

    async def scenario() -> bool:
        async with running(breaks(), asyncio.Event().wait()):  # type: ignore[arg-type]
            for _ in range(3):
                await asyncio.sleep(0)
            return "unforeseen" in caplog.text

    assert asyncio.run(scenario())
