"""Slows guesses at one account's password that come from many addresses. All servers count together.

Each guess from a network that the account never signed in from is counted before the password is checked, so concurrent
guesses count, too. After ``FREE_FAILURES`` the next one waits, each time twice as long. Networks that the account
signed in from before do not wait, and neither do personal access tokens: a stranger cannot lock the owner out there.

Accounts are counted in a fixed number of buckets, whether they exist or not: the table does not grow with the names
that clients try, and the delay does not tell which accounts exist.
"""

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta

from hythe.database import Database
from hythe.hub.errors import TooManyAttempts
from hythe.hub.sql import sign_in_failures as store
from hythe.hub.sql.sign_in_failures import Failures

FREE_FAILURES = 20
"""Failures at one account from unknown networks before the next one waits: more than one address can cause alone."""

MAX_DELAY = timedelta(minutes=5)
"""The longest time between two guesses. About 300 guesses at one account are possible in a day."""

FORGOTTEN_AFTER = timedelta(days=1)
"""Failures no longer count after this time without another one."""

_HINT = "or sign in from a network that you signed in from before, or use a personal access token"


class AccountThrottle:
    """Counts failed sign-ins by account in the database."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    async def admit(self, name: str) -> None:
        """Count a guess at this account from an unknown network. Raises TooManyAttempts if it has to wait."""
        now, bucket = self._clock(), _bucket(name)
        async with self._database.reading() as session:
            _require_time(await store.failures(session, bucket), now)
        async with self._database.writing(durable=False) as session:
            _require_time(await store.failures(session, bucket), now)
            await store.add_failure(session, bucket, now, now - FORGOTTEN_AFTER)

    async def succeeded(self, name: str, user_id: int, network: str, *, known: bool = True) -> None:
        """Take the guess back, because it was right, and remember the network unless the user is not ``known`` yet."""
        async with self._database.writing(durable=False) as session:
            await store.take_back(session, _bucket(name))
            if not known:
                return
            await store.remember_network(session, user_id, network, self._clock())


def _require_time(failures: Failures | None, now: datetime) -> None:
    if failures is None or failures.count < FREE_FAILURES or now - failures.last_at > FORGOTTEN_AFTER:
        return
    doublings = min(failures.count - FREE_FAILURES, 20)
    left = failures.last_at + min(timedelta(seconds=2**doublings), MAX_DELAY) - now
    if left > timedelta():
        raise TooManyAttempts(max(1, round(left.total_seconds())), hint=_HINT)


def _bucket(name: str) -> int:
    """Return one of 65536 buckets. Strangers who share it with an attacked account wait, too, in unknown networks."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:2])
