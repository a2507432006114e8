"""Counts failed sign-ins for each account and address, and delays further ones after too many."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeAlias, TypeVar
from weakref import WeakValueDictionary

from hythe.hub.errors import TooManyAttempts

MAX_FAILURES = 10
"""Failures in a row for one account from one address before the client has to wait."""

MAX_FAILURES_PER_ADDRESS = 1000
"""Failures from one address within ``WAIT`` for any accounts: more than the typing errors of a whole office."""

WAIT = 300
"""Seconds after which failures no longer count."""

_MAX_COUNTS = 10_000
"""More than ``MAX_FAILURES_PER_ADDRESS``, so clients cannot evict their failures by failing elsewhere."""

_MAX_KEY_LENGTH = 40

_Count: TypeAlias = tuple[int, float]
"""Number of failures, and the start of their ``WAIT`` period."""

_NONE: _Count = (0, 0.0)
_K = TypeVar("_K")


class LoginThrottle:
    """Counts failures in memory, separately on each server. Bounded: the oldest entries are evicted first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[tuple[str, str], _Count] = {}
        self._by_address: dict[str, _Count] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def turn(self, address: str) -> asyncio.Lock:
        """Return the lock to hold while a sign-in is checked: many requests from one address wait only for each other.

        Concurrent guesses count like guesses one after the other.
        """
        lock = self._turns.get(address)
        if lock is None:
            lock = self._turns[address] = asyncio.Lock()
        return lock

    def check(self, account: str, address: str) -> None:
        """Raise TooManyAttempts if this account failed too often from this address, or the address failed too often."""
        own = self._failures.get(_key(account, address), _NONE)
        for (count, since), allowed in (
            (own, MAX_FAILURES),
            (self._by_address.get(address, _NONE), MAX_FAILURES_PER_ADDRESS),
        ):
            left = since + WAIT - self._clock()
            if count >= allowed and left > 0:
                raise TooManyAttempts(max(1, round(left)))

    def failed(self, account: str, address: str) -> None:
        """Count a failure."""
        now = self._clock()
        count, _ = self._recent(self._failures, _key(account, address))
        _keep(self._failures, _key(account, address), (count + 1, now))
        count, since = self._recent(self._by_address, address)
        _keep(self._by_address, address, (count + 1, since))

    def _recent(self, counts: dict[_K, _Count], key: _K) -> _Count:
        now = self._clock()
        count, since = counts.pop(key, _NONE)
        return (count, since) if count and now - since <= WAIT else (0, now)

    def succeeded(self, account: str, address: str) -> None:
        """Reset the account's failures but not the address's, which one valid password must not reset."""
        self._failures.pop(_key(account, address), None)


def _keep(counts: dict[_K, _Count], key: _K, count: _Count) -> None:
    if len(counts) >= _MAX_COUNTS:
        del counts[next(iter(counts))]
    counts[key] = count


def _key(account: str, address: str) -> tuple[str, str]:
    """Return the key of a count. The typed name may have any length, so it is cut."""
    return account[:_MAX_KEY_LENGTH], address
