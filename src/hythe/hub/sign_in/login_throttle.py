"""Counts failed sign-ins for each account and network, and delays further ones after too many.

All servers count together. A guess at an account that failed before is counted before the password is checked, so
guesses that are checked at the same time count, too. The first guess is counted afterwards: a sign-in without failures
writes nothing.

Counts are in a fixed number of buckets, so the table does not grow with the names and networks of clients. A bucket
counts one of them, and the last that failed evicts another: no user waits for a stranger's failures. The installation's
key decides the buckets, so that clients cannot evict their own failures on purpose.
"""

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TypeVar
from weakref import WeakValueDictionary

import msgspec

from hythe.database import Database
from hythe.hub.errors import TooManyAttempts
from hythe.hub.sql import failed_logins as store
from hythe.hub.sql.failed_logins import Counter, CounterKey

MAX_FAILURES = 10
"""Failures in a row for one account from one network before the client has to wait."""

MAX_FAILURES_PER_ADDRESS = 1000
"""Failures from one network within ``WAIT`` for any accounts: more than the typing errors of a whole office."""

WAIT = timedelta(minutes=5)
"""Time after which failures no longer count: since the last one of an account, since the first one of a network."""

BUCKETS = 65536
"""Buckets for accounts, and as many again for networks: accounts cannot evict the count of a network."""

_MAX_KEY_LENGTH = 40

T = TypeVar("T")


class LoginThrottle:
    """Counts failures in the database."""

    def __init__(self, database: Database, key: str, clock: Callable[[], datetime]) -> None:
        """``key`` is a secret that all servers share."""
        self._database = database
        self._key = key.encode()
        self._clock = clock
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def attempt(self, account: str, network: str, check: Callable[[], Awaitable[T | None]]) -> T | None:
        """Return the result of ``check``, which is None for a wrong password; count such a failure.

        Raises TooManyAttempts if this account failed too often from this network, or the network failed too often. Many
        requests from one network wait for each other on one server.
        """
        keys = self._keys(account, network)
        async with self.turn(network):
            reserved = await self._admit(keys)
            try:
                result = await check()
            except BaseException:
                if reserved:
                    await self._take_back(keys)
                raise
            if result is None:
                await self._failed(keys, reserved=reserved)
            elif reserved:
                await self._reset(keys)
            else:
                # Other servers may have checked as many guesses as are allowed since this one was admitted.
                await self._require_time(keys)
            return result

    def turn(self, network: str) -> asyncio.Lock:
        """Return the lock to hold while a client is served that other requests from its network have to wait for."""
        lock = self._turns.get(network)
        if lock is None:
            lock = self._turns[network] = asyncio.Lock()
        return lock

    def _keys(self, account: str, network: str) -> "_Keys":
        """Return the counters of a client. The typed name may have any length, so it is cut."""
        name = account[:_MAX_KEY_LENGTH].encode("utf-8", "surrogatepass")
        own = hmac.digest(self._key, network.encode("utf-8", "surrogatepass") + b"\0" + name, "sha256")
        all_accounts = hmac.digest(self._key, network.encode("utf-8", "surrogatepass"), "sha256")
        return _Keys(
            CounterKey(int.from_bytes(own[:2]), own[2:18].hex()),
            CounterKey(BUCKETS + int.from_bytes(all_accounts[:2]), all_accounts[2:18].hex()),
        )

    async def _require_time(self, keys: "_Keys") -> Counter | None:
        """Return the account's count. Raises TooManyAttempts."""
        async with self._database.reading() as session:
            own, network = await store.counters(session, keys.own, keys.network)
        now = self._clock()
        _require_fewer(own, MAX_FAILURES, now)
        _require_fewer(network, MAX_FAILURES_PER_ADDRESS, now)
        return own

    async def _admit(self, keys: "_Keys") -> bool:
        """Count a guess at an account that failed before; return whether it was counted. Raises TooManyAttempts."""
        own = await self._require_time(keys)
        now = self._clock()
        if own is None or now - own.at > WAIT:
            return False
        async with self._database.writing(durable=False) as session:
            before = await store.lock(session, keys.own)
            _require_fewer(before, MAX_FAILURES, now)
            await store.add(session, keys.own, now, now - WAIT, restart=True)
        return True

    async def _failed(self, keys: "_Keys", *, reserved: bool) -> None:
        """Count a failure, unless ``_admit`` did. Raises TooManyAttempts if other guesses used up what is allowed."""
        now = self._clock()
        async with self._database.writing(durable=False) as session:
            count = 0
            if not reserved:
                count = await store.add(session, keys.own, now, now - WAIT, restart=True)
            await store.add(session, keys.network, now, now - WAIT, restart=False)
        if count > MAX_FAILURES:
            raise TooManyAttempts(round(WAIT.total_seconds()))

    async def _reset(self, keys: "_Keys") -> None:
        """Forget the account's failures but not the network's, which one valid password must not reset."""
        async with self._database.writing(durable=False) as session:
            await store.reset(session, keys.own)

    async def _take_back(self, keys: "_Keys") -> None:
        async with self._database.writing(durable=False) as session:
            await store.take_back(session, keys.own)


class _Keys(msgspec.Struct, frozen=True):
    """The counters of an account from a network, and of all accounts from that network."""

    own: CounterKey
    network: CounterKey


def _require_fewer(counter: Counter | None, allowed: int, now: datetime) -> None:
    if counter is None or counter.failures < allowed:
        return
    left = counter.at + WAIT - now
    if left > timedelta():
        raise TooManyAttempts(max(1, round(left.total_seconds())))
