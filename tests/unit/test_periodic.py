"""Background work goes on whatever happens."""

from __future__ import annotations

import asyncio

import pytest

from hythe.periodic import repeat


def test_a_round_that_fails_is_not_the_last_one() -> None:
    """Work that raises, even what nobody thought of, is done again."""
    done: list[int] = []

    async def work() -> None:
        done.append(1)
        if len(done) == 3:
            raise asyncio.CancelledError
        raise RuntimeError("unheard of")

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(repeat(work, 0, "this test"))

    assert len(done) == 3
