"""When to retry a request: exponential backoff with jitter, or as ``Retry-After`` asks."""

import random
import threading
import time

import msgspec

from hythe.oci.retry_after import seconds_until

RETRYABLE_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses after which the same request may succeed later."""


class RetryPolicy(msgspec.Struct, frozen=True):
    """How often to retry, and how long to wait; times in seconds.

    ``attempts`` counts consecutive failures without progress. A server that asks to wait longer than
    ``max_retry_after`` is not retried; ``read_timeout`` is how long a connection may be idle.
    """

    attempts: int = 6
    first_delay: float = 0.4
    max_delay: float = 20
    max_retry_after: float = 180
    read_timeout: float = 45


class Retries:
    """Counts the failures of one operation and waits between its attempts."""

    def __init__(self, policy: RetryPolicy, stopped: threading.Event) -> None:
        self._policy = policy
        self._stopped = stopped
        self._failures = 0

    def reset(self) -> None:
        """Reset the count of failures, after some progress."""
        self._failures = 0

    def wait(self, retry_after: str = "") -> bool:
        """Count a failure and wait; returns False to give up: too many failures, or the operation was stopped."""
        self._failures += 1
        seconds = seconds_until(retry_after, time.time())
        if self._failures >= self._policy.attempts or (seconds or 0) > self._policy.max_retry_after:
            return False
        if seconds is None:
            ceiling = min(self._policy.max_delay, self._policy.first_delay * 2 ** (self._failures - 1))
            seconds = random.uniform(ceiling / 2, ceiling)  # noqa: S311 - spreads clients, not a secret
        return not self._stopped.wait(seconds)
