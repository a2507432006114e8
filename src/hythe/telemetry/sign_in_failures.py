"""A line in the log for each sign-in that fails, in a form that fail2ban can match (``deploy/fail2ban``).

The address comes first, so that nothing that a client sends can be taken for it. Throttles bound the guesses that are
checked, but not those that are refused at once, nor invalid tokens. So a client gets one line a minute for throttled
attempts, and all failures together a bounded number.
"""

import json
import re
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

import structlog

from hythe.telemetry.metrics import SIGN_IN_FAILURES

MAX_LINES = 600
"""Lines in ``WINDOW`` seconds; then one line says how many were left out."""

WINDOW = 60.0

MAX_CLIENTS = 10_000
"""Clients whose last refusal is remembered."""

THROTTLED = "throttled"
"""The reason of an attempt that was refused before its credential was checked."""

WRONG = "wrong"
"""The reason of an attempt with a credential that is wrong, unknown or expired."""

_PLAIN = re.compile(r"[A-Za-z0-9._+@-]{1,64}")

_LOG = structlog.get_logger()


class SignInFailures:
    """Counts failures and logs a bounded number of them."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._window_ends = 0.0
        self._lines = 0
        self._omitted = 0
        self._refused: OrderedDict[str, float] = OrderedDict()

    def report(self, account: str, address: str, method: str, reason: str) -> None:
        """Report that a sign-in failed: ``method`` is the kind of credential, ``reason`` why."""
        SIGN_IN_FAILURES.add(method, reason)
        now = self._clock()
        if reason == THROTTLED and self._was_refused(address, now):
            return
        if now >= self._window_ends:
            if self._omitted:
                _LOG.warning("failed sign-ins were not logged, because there were too many", number=self._omitted)
            self._window_ends, self._lines, self._omitted = now + WINDOW, 0, 0
        self._lines += 1
        if self._lines > MAX_LINES:
            self._omitted += 1
            return
        _LOG.warning(
            f"failed sign-in from {address or '-'}: {f'wrong {method}' if reason == WRONG else reason}",
            account=account if _PLAIN.fullmatch(account) else json.dumps(account[:64]) if account else "-",
            method=method,
        )

    def _was_refused(self, address: str, now: float) -> bool:
        """Return whether this client was refused within ``WINDOW``; remember that it was now, if not."""
        last = self._refused.get(address)
        if last is not None and now - last < WINDOW:
            return True
        self._refused.pop(address, None)
        self._refused[address] = now
        if len(self._refused) > MAX_CLIENTS:
            self._refused.popitem(last=False)
        return False


sign_in_failures = SignInFailures()
"""Those of this process."""
