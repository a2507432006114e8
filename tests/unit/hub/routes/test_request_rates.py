"""The requests of a client are counted together by all processes of a server."""

import mmap

import pytest

from hythe.hub.actor import ANONYMOUS
from hythe.hub.routes.request_rates import RequestRates, TooManyRequests
from hythe.hub.routes.shared_buckets import SIZE, SLOTS, SharedBuckets


class Clock:
    """A clock that only the test advances."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_processes_count_together() -> None:
    """Each sees what the others have counted; the bucket fills up again once, not in each process."""
    memory, clock = mmap.mmap(-1, SIZE), Clock()
    first, second = (RequestRates(60, clock, SharedBuckets(memory)) for _ in "12")

    left = [int(rates.count(ANONYMOUS, "192.0.2.1")["X-RateLimit-Remaining"]) for rates in (first, second) * 30]
    assert left == list(range(59, -1, -1))
    for rates in (first, second):
        with pytest.raises(TooManyRequests):
            rates.count(ANONYMOUS, "192.0.2.1")

    assert second.count(ANONYMOUS, "192.0.2.2")["X-RateLimit-Remaining"] == "59"
    clock.now += 1
    first.count(ANONYMOUS, "192.0.2.1")
    with pytest.raises(TooManyRequests):
        second.count(ANONYMOUS, "192.0.2.1")


def test_a_changed_limit_holds_for_the_next_request() -> None:
    """Of a client that was counted before, too."""
    rates = RequestRates(60, Clock())
    rates.count(ANONYMOUS, "192.0.2.1")

    rates.apply(10)

    assert rates.count(ANONYMOUS, "192.0.2.1")["X-RateLimit-Remaining"] == "9"
    rates.apply(0)
    assert rates.count(ANONYMOUS, "192.0.2.1") == {}


def test_clients_that_are_idle_make_room() -> None:
    """The memory is bounded, and damage by a process that died while it wrote is harmless."""
    memory = mmap.mmap(-1, SIZE)
    buckets = SharedBuckets(memory)
    for number in range(SLOTS + SLOTS // 2):
        buckets.put(f"account {number}", 1.0, float(number))

    kept = [number for number in range(SLOTS + SLOTS // 2) if buckets.take(f"account {number}") is not None]
    assert SLOTS // 2 < len(kept) <= SLOTS
    assert sum(number > SLOTS for number in kept) > sum(number < SLOTS // 2 for number in kept)

    memory[:] = b"\xff" * SIZE
    rates = RequestRates(60, Clock(), buckets)
    assert rates.count(ANONYMOUS, "192.0.2.1")["X-RateLimit-Remaining"] == "59"
