"""Trying again: how often, how long in between, and what Retry-After means."""

from __future__ import annotations

import threading
from email.utils import formatdate
from time import time

import pytest

from hythe.client.retry import Retries, RetryPolicy, seconds_until


class Waits(threading.Event):
    """Remembers how long it was waited for, and does not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout or 0)
        return self.is_set()


def test_waiting_grows_with_jitter_and_ends() -> None:
    """Each wait is at most twice the one before, never the same for all clients, and then it is enough."""
    waits = Waits()
    retries = Retries(RetryPolicy(attempts=5, first_delay=1, max_delay=4), waits)
    went_on = [retries.wait() for _ in range(5)]

    assert went_on == [True, True, True, True, False]
    assert all(ceiling / 2 <= seconds <= ceiling for ceiling, seconds in zip((1, 2, 4, 4), waits.seconds, strict=True))


def test_progress_starts_the_count_anew() -> None:
    """A download that moves between cuts is not given up."""
    retries = Retries(RetryPolicy(attempts=2, first_delay=0), Waits())
    for _ in range(10):
        assert retries.wait()
        retries.reset()
    assert retries.wait()
    assert not retries.wait()


def test_retry_after_is_obeyed_exactly() -> None:
    """The server knows best when to come back."""
    waits = Waits()

    assert Retries(RetryPolicy(), waits).wait("17")
    assert waits.seconds == [17]


def test_a_server_that_asks_too_much_is_not_waited_for() -> None:
    """Rather an error now than an hour of silence."""
    waits = Waits()

    assert not Retries(RetryPolicy(max_retry_after=60), waits).wait("3600")
    assert waits.seconds == []


def test_stopping_ends_the_waiting() -> None:
    """Ctrl-C does not wait for a server."""
    waits = Waits()
    waits.set()

    assert not Retries(RetryPolicy(), waits).wait()


@pytest.mark.parametrize(("text", "seconds"), [("", None), ("12", 12.0), (" 3 ", 3.0), ("soon", None), ("-5", None)])
def test_retry_after_in_seconds(text: str, seconds: float | None) -> None:
    """RFC 9110, section 10.2.3: delay-seconds; anything else says nothing."""
    assert seconds_until(text) == seconds


def test_retry_after_as_a_date() -> None:
    """RFC 9110, section 10.2.3: HTTP-date; one in the past means now."""
    ahead = seconds_until(formatdate(time() + 100, usegmt=True))

    assert ahead is not None
    assert 90 < ahead <= 100
    assert seconds_until(formatdate(time() - 100, usegmt=True)) == 0
