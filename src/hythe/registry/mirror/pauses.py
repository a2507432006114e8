"""Upstreams that asked to wait: no request reaches them before the time that they named has passed."""

from datetime import datetime, timedelta

from hythe.oci.retry_after import retry_after, seconds_until
from hythe.registry.clock import Clock
from hythe.registry.mirror.errors import UpstreamBusy

DEFAULT_PAUSE = 30.0
"""Seconds to wait for an upstream that sends 429 without ``Retry-After``."""

MAX_PAUSE = 3600.0
"""Maximum number of seconds to wait, so that a mistaken upstream is asked again."""


class Pauses:
    """The pauses by the upstream's address: names that share one share its limit. Each server keeps its own."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pauses: dict[str, tuple[datetime, int, str]] = {}

    def require_none(self, address: str) -> None:
        """Raise UpstreamBusy if the upstream asked to wait and the time has not passed."""
        pause = self._pauses.get(address)
        if pause is None:
            return
        until, status, message = pause
        now = self._clock()
        if until <= now:
            del self._pauses[address]
            return
        raise UpstreamBusy(message, status, retry_after(until, now))

    def start(self, address: str, status: int, header: str, message: str) -> UpstreamBusy:
        """Record that the upstream sent ``status`` with this ``Retry-After``; return the error to raise."""
        now = self._clock()
        seconds = seconds_until(header, now.timestamp())
        until = now + timedelta(seconds=min(MAX_PAUSE, max(1.0, DEFAULT_PAUSE if seconds is None else seconds)))
        self._pauses[address] = until, status, message
        return UpstreamBusy(message, status, retry_after(until, now))
