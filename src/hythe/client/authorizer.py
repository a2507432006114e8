"""The token cache of one registry: shared by all threads, and renewed before tokens expire."""

import threading
import time
from collections.abc import Callable, Sequence

from hythe.client.auth_flow import AuthFlow, Authorization, authorize
from hythe.client.credentials import Credential
from hythe.client.http1 import HTTPRequest, HTTPResponse
from hythe.oci.challenge import Challenge, parse_challenges
from hythe.oci.scope import Scope

RENEWAL_MARGIN = 15
"""Seconds before expiry at which a token is renewed, so that it does not expire during a request."""


class Authorizer:
    """The ``Authorization`` headers for one registry, by scope."""

    def __init__(self, credential: Callable[[], Credential], exchange: Callable[[HTTPRequest], HTTPResponse]) -> None:
        self._credential = credential
        self._exchange = exchange
        self._lock = threading.Lock()
        self._challenges: tuple[Challenge, ...] = ()
        self._base = ""
        self._tokens: dict[tuple[str, ...], tuple[str, float]] = {}

    def header(self, scopes: Sequence[Scope]) -> str:
        """Return the header to send; "" before the registry's first challenge. Raises AccessDenied."""
        with self._lock:
            header, ends = self._tokens.get(_key(scopes), ("", 0.0))
            if header and time.monotonic() < ends:
                return header
            return self._authorize(scopes).header if self._challenges else ""

    def answer_challenge(self, challenge: str, rejected_header: str, scopes: Sequence[Scope], base: str = "") -> str:
        """Return a new header after a 401; ``rejected_header`` is the one that was sent. Raises AccessDenied.

        ``base`` is the URL of the request, for a challenge with a relative realm.
        """
        with self._lock:
            header, ends = self._tokens.get(_key(scopes), ("", 0.0))
            if header and header != rejected_header and time.monotonic() < ends:
                return header  # another thread has just renewed it
            self._challenges, self._base = parse_challenges(challenge), base
            return self._authorize(scopes).header

    def _authorize(self, scopes: Sequence[Scope]) -> Authorization:
        flow = authorize(self._challenges, self._credential(), scopes, base=self._base)
        authorization = run_auth_flow(flow, self._exchange)
        lifetime = max(authorization.seconds - RENEWAL_MARGIN, authorization.seconds / 2)
        self._tokens[_key(scopes)] = (authorization.header, time.monotonic() + lifetime)
        return authorization


def run_auth_flow(flow: AuthFlow, exchange: Callable[[HTTPRequest], HTTPResponse]) -> Authorization:
    """Send the requests of an authentication flow and return its result."""
    try:
        request = next(flow)
        while True:
            request = flow.send(exchange(request))
    except StopIteration as end:
        authorization: Authorization = end.value
        return authorization


def _key(scopes: Sequence[Scope]) -> tuple[str, ...]:
    return tuple(map(str, scopes))
