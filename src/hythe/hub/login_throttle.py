"""Failed sign-ins are counted for each account and address, and too many of them are made to wait."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeAlias, TypeVar
from weakref import WeakValueDictionary

from hythe.hub.errors import TooManyAttempts

ALLOWED = 10
"""Failures in a row at one account, from one address, before one has to wait."""

ALLOWED_ADDRESS = 1000
"""Failures from one address within ``WAIT``, whatever the accounts: more than a whole office mistypes."""

WAIT = 300
"""Seconds until the failures are forgotten."""

_REMEMBERED = 10_000
"""More than ``ALLOWED_ADDRESS``, so that nobody makes us forget their failures by failing elsewhere."""

_LONGEST = 40

_Count: TypeAlias = tuple[int, float]
"""How many failures, and the time from which they are forgotten after ``WAIT``."""

_NONE: _Count = (0, 0.0)
_K = TypeVar("_K")


class LoginThrottle:
    """Counts failures in memory, each server its own. Bounded: the oldest are forgotten first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[tuple[str, str], _Count] = {}
        self._by_address: dict[str, _Count] = {}
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
        """Raise TooManyAttempts when this account failed too often from this address, or the address altogether."""
        own = self._failures.get(_key(account, address), _NONE)
        for (count, since), allowed in ((own, ALLOWED), (self._by_address.get(address, _NONE), ALLOWED_ADDRESS)):
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
        """Forget the account's failures; the address's are kept, or one's own password would wipe them out."""
        self._failures.pop(_key(account, address), None)


def _keep(counts: dict[_K, _Count], key: _K, count: _Count) -> None:
    if len(counts) >= _REMEMBERED:
        del counts[next(iter(counts))]
    counts[key] = count


def _key(account: str, address: str) -> tuple[str, str]:
    """What is typed as a name may be of any length, and is kept."""
    return account[:_LONGEST], address
