"""When to try again: exponential waiting with jitter, and what ``Retry-After`` says."""

import random
import threading
import time
from datetime import UTC, datetime

import msgspec

RETRIED = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses after which the same request may succeed."""


class RetryPolicy(msgspec.Struct, frozen=True):
    """How often and how patiently; times in seconds.

    ``attempts`` count failures in a row without progress. A server that asks to wait longer than ``patience`` is
    not waited for; one that is silent for ``silence`` counts as gone.
    """

    attempts: int = 6
    first: float = 0.4
    longest: float = 20
    patience: float = 180
    silence: float = 45


class Retries:
    """The failures of one piece of work."""

    def __init__(self, policy: RetryPolicy, stopped: threading.Event) -> None:
        self._policy = policy
        self._stopped = stopped
        self._failures = 0

    def progressed(self) -> None:
        """Start to count anew: something moved since the last failure."""
        self._failures = 0

    def wait(self, retry_after: str = "") -> bool:
        """Count a failure and wait; False when it is time to give up, or the work was stopped."""
        self._failures += 1
        seconds = seconds_until(retry_after)
        if self._failures >= self._policy.attempts or (seconds or 0) > self._policy.patience:
            return False
        if seconds is None:
            ceiling = min(self._policy.longest, self._policy.first * 2 ** (self._failures - 1))
            seconds = random.uniform(ceiling / 2, ceiling)  # noqa: S311 - spreads clients, hides nothing
        return not self._stopped.wait(seconds)


def seconds_until(retry_after: str) -> float | None:
    """Return the seconds that ``Retry-After`` asks to wait (RFC 9110, section 10.2.3), None if it does not."""
    text = retry_after.strip()
    if not text:
        return None
    if text.isdigit():
        return float(text)
    try:
        moment = datetime.strptime(text, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - time.time())
