"""Periodic tasks continue after failures."""

from __future__ import annotations

import asyncio

import pytest

from hythe.periodic import repeat


def test_a_failure_does_not_stop_the_task() -> None:
    """A task that raises any exception runs again."""
    done: list[int] = []

    async def task() -> None:
        done.append(1)
        if len(done) == 3:
            raise asyncio.CancelledError
        raise RuntimeError("unexpected")

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(repeat(task, 0, "this test"))

    assert len(done) == 3
