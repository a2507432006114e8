"""Limits how many accounts one network creates in a day. All servers count together.

Only accounts that were created are counted, so the table has no more rows than there are new accounts.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from hythe.database import Database, Session
from hythe.hub.errors import TooManyAttempts
from hythe.hub.sign_in.client_network import client_network, is_local
from hythe.hub.sql import sign_ups as store
from hythe.hub.sql.sign_ups import SignUps

PERIOD = timedelta(days=1)

_LOG = structlog.get_logger()


class SignUpLimit:
    """Counts the accounts that each network creates. A limit of 0 admits every sign-up."""

    def __init__(self, database: Database, limit: int, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._limit = limit
        self._clock = clock

    def apply(self, limit: int) -> None:
        """Take over a changed limit."""
        self._limit = limit

    async def check(self, address: str) -> None:
        """Raise TooManyAttempts if the client's network has created as many accounts as it may."""
        if not self._limit:
            return
        network = client_network(address)
        async with self._database.reading() as session:
            self._require_room(network, await store.of_network(session, network), self._limit - 1)

    async def count(self, session: Session, address: str) -> None:
        """Count a sign-up in the transaction that creates the account. Raises TooManyAttempts."""
        if self._limit:
            network, now = client_network(address), self._clock()
            self._require_room(network, await store.add(session, network, now, now - PERIOD), self._limit)

    async def forget(self) -> None:
        """Delete old counts."""
        if self._limit:
            async with self._database.writing(durable=False) as session:
                await store.delete_old(session, self._clock() - PERIOD)

    def _require_room(self, network: str, counted: SignUps | None, limit: int) -> None:
        left = counted.since + PERIOD - self._clock() if counted else timedelta()
        if counted is None or counted.accounts <= limit or left <= timedelta():
            return
        if is_local(network):
            # Behind a proxy that is not trusted, all clients seem to have its address.
            _LOG.warning(
                "sign-ups reached the limit of one address: if it belongs to a reverse proxy, set trusted_proxies",
                address=network,
                sign_ups_per_address=self._limit,
            )
        seconds = max(1, round(left.total_seconds()))
        raise TooManyAttempts(
            seconds,
            f"{self._limit} accounts were created from your network today",
            "ask an administrator for an account",
        )
