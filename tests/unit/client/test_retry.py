"""Retries: how many, with which delays, and what Retry-After means."""

from __future__ import annotations

import threading

from hythe.client.retry import Retries, RetryPolicy


class Waits(threading.Event):
    """Records the delays without waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout or 0)
        return self.is_set()


def test_delays_grow_with_jitter_and_end() -> None:
    """Each delay is at most twice the previous one and differs between clients, until it gives up."""
    waits = Waits()
    retries = Retries(RetryPolicy(attempts=5, first_delay=1, max_delay=4), waits)
    went_on = [retries.wait() for _ in range(5)]

    assert went_on == [True, True, True, True, False]
    assert all(ceiling / 2 <= seconds <= ceiling for ceiling, seconds in zip((1, 2, 4, 4), waits.seconds, strict=True))


def test_progress_resets_the_count() -> None:
    """A download that makes progress between errors is not given up."""
    retries = Retries(RetryPolicy(attempts=2, first_delay=0), Waits())
    for _ in range(10):
        assert retries.wait()
        retries.reset()
    assert retries.wait()
    assert not retries.wait()


def test_retry_after_is_obeyed_exactly() -> None:
    """The delay is exactly what the server asks for."""
    waits = Waits()

    assert Retries(RetryPolicy(), waits).wait("17")
    assert waits.seconds == [17]


def test_a_long_retry_after_gives_up() -> None:
    """An error now is better than waiting for an hour."""
    waits = Waits()

    assert not Retries(RetryPolicy(max_retry_after=60), waits).wait("3600")
    assert waits.seconds == []


def test_stopping_ends_the_delay() -> None:
    """Ctrl-C does not wait for a server."""
    waits = Waits()
    waits.set()

    assert not Retries(RetryPolicy(), waits).wait()
