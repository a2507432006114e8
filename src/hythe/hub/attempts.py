"""Failed sign-ins are counted for each account and address, and too many of them are made to wait."""

import asyncio
import time
from collections.abc import Callable
from weakref import WeakValueDictionary

from hythe.hub.errors import TooManyAttempts

ALLOWED = 10
"""Failures in a row before one has to wait."""

WAIT = 300
"""Seconds until the failures are forgotten."""

_REMEMBERED = 10_000
_LONGEST = 40


class Attempts:
    """Counts failures in memory, each server its own. Bounded: the oldest are forgotten first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[tuple[str, str], tuple[int, float]] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def turn(self, address: str) -> asyncio.Lock:
        """Return what to hold while a sign-in is checked: whoever sends many at once waits for themselves alone.

        Guesses that come together are counted as if they came one by one.
        """
        lock = self._turns.get(address)
        if lock is None:
            lock = self._turns[address] = asyncio.Lock()
        return lock

    def check(self, account: str, address: str) -> None:
        """Raise TooManyAttempts when this account failed too often from this address."""
        count, since = self._failures.get(_key(account, address), (0, 0.0))
        left = since + WAIT - self._clock()
        if count >= ALLOWED and left > 0:
            raise TooManyAttempts(max(1, round(left)))

    def failed(self, account: str, address: str) -> None:
        """Count a failure."""
        key = _key(account, address)
        count, since = self._failures.pop(key, (0, 0.0))
        if self._clock() - since > WAIT:
            count = 0
        if len(self._failures) >= _REMEMBERED:
            del self._failures[next(iter(self._failures))]
        self._failures[key] = (count + 1, self._clock())

    def succeeded(self, account: str, address: str) -> None:
        """Forget the failures."""
        self._failures.pop(_key(account, address), None)


def _key(account: str, address: str) -> tuple[str, str]:
    """What is typed as a name may be of any length, and is kept."""
    return account[:_LONGEST], address
