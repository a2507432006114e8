"""How many requests each account, or network of anonymous clients, may make to the JSON API.

Each has a bucket of requests that fills up again within a minute. Responses say how many are left, in the headers of
draft-ietf-httpapi-ratelimit-headers and in those that Docker Hub and GitHub send.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from hythe.hub.actor import HubActor
from hythe.hub.errors import TooManyAttempts
from hythe.hub.sign_in.client_network import client_network

WINDOW = 60
"""Seconds within which an empty bucket fills up."""

MAX_BUCKETS = 20_000
"""Clients whose requests are counted; the one that was idle for longest is forgotten first."""


class TooManyRequests(TooManyAttempts):
    """The client made too many requests; ``headers`` say so."""

    def __init__(self, retry_after: int, limit: int, headers: dict[str, str]) -> None:
        self.headers = headers
        super().__init__(retry_after, f"more than {limit} requests in a minute")


class Buckets(Protocol):
    """The requests that each client has left, and when they were counted."""

    def take(self, client: str) -> tuple[float, float] | None:
        """Return them; None if the client is new."""

    def put(self, client: str, left: float, since: float) -> None:
        """Store them."""


class OwnBuckets:
    """The buckets of a server of one process."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> tuple[float, float] | None:
        """See Buckets."""
        return self._buckets.pop(client, None)

    def put(self, client: str, left: float, since: float) -> None:
        """See Buckets."""
        self._buckets[client] = (left, since)
        if len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)


class RequestRates:
    """Counts the requests of each client on this server."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic, buckets: Buckets | None = None) -> None:
        """Allow ``limit`` requests a minute; 0: any number. ``buckets``: those of all processes of the server."""
        self._limit = limit
        self._clock = clock
        self._buckets = buckets or OwnBuckets()

    def apply(self, limit: int) -> None:
        """Take over a changed limit."""
        self._limit = limit

    def count(self, actor: HubActor, address: str) -> dict[str, str]:
        """Count a request and return the headers of its response. Raises TooManyRequests."""
        if not self._limit or actor.operating:
            return {}
        now = self._clock()
        client = f"account {actor.user_id}" if actor.signed_in else client_network(address)
        left, since = self._buckets.take(client) or (float(self._limit), now)
        left = min(self._limit, left + max(0.0, now - since) * self._limit / WINDOW)
        allowed = left >= 1
        left -= allowed
        self._buckets.put(client, left, now)
        headers = self._headers(int(left), math.ceil((self._limit - left) * WINDOW / self._limit))
        if not allowed:
            raise TooManyRequests(math.ceil((1 - left) * WINDOW / self._limit), self._limit, headers)
        return headers

    def _headers(self, left: int, full_after: int) -> dict[str, str]:
        return {
            "RateLimit-Policy": f'"requests";q={self._limit};w={WINDOW}',
            "RateLimit": f'"requests";r={left};t={full_after}',
            "X-RateLimit-Limit": str(self._limit),
            "X-RateLimit-Remaining": str(left),
            "X-RateLimit-Reset": str(int(time.time()) + full_after),
        }
