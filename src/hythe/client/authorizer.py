"""Keeps the tokens of one registry: asks for them, once for all threads, and renews them before they end."""

import threading
import time
from collections.abc import Callable, Sequence

from hythe.client.auth_flow import AuthFlow, Authorization, authorize
from hythe.client.credentials import Credential
from hythe.client.http1 import HTTPRequest, HTTPResponse
from hythe.oci.challenge import Challenge, parse_challenges
from hythe.oci.scope import Scope, parse_scopes

RENEWAL_MARGIN = 15
"""A token is renewed so many seconds before its end, so that a request on its way does not outlive it."""


class Authorizer:
    """The ``Authorization`` headers for one registry, by scopes."""

    def __init__(self, credential: Callable[[], Credential], exchange: Callable[[HTTPRequest], HTTPResponse]) -> None:
        self._credential = credential
        self._exchange = exchange
        self._lock = threading.Lock()
        self._challenges: tuple[Challenge, ...] = ()
        self._tokens: dict[tuple[str, ...], tuple[str, float]] = {}

    def header(self, scopes: Sequence[Scope]) -> str:
        """Return the header to send; "" while the registry has not said what it wants. Raises AccessDenied."""
        with self._lock:
            header, ends = self._tokens.get(_key(scopes), ("", 0.0))
            if header and time.monotonic() < ends:
                return header
            return self._authorize(scopes).header if self._challenges else ""

    def answer_challenge(self, challenge: str, refused: str, scopes: Sequence[Scope]) -> str:
        """Return the header that answers a 401; ``refused`` is what was sent and did not do. Raises AccessDenied."""
        with self._lock:
            header, ends = self._tokens.get(_key(scopes), ("", 0.0))
            if header and header != refused and time.monotonic() < ends:
                return header  # another thread has just asked
            self._challenges = parse_challenges(challenge)
            return self._authorize(scopes).header

    def _authorize(self, scopes: Sequence[Scope]) -> Authorization:
        wanted = [c.parameters["scope"] for c in self._challenges if c.parameters.get("scope")]
        united = parse_scopes([*map(str, scopes), *wanted])
        handshake = authorize(self._challenges, self._credential(), united)
        authorization = run_auth_flow(handshake, self._exchange)
        lifetime = max(authorization.seconds - RENEWAL_MARGIN, authorization.seconds / 2)
        self._tokens[_key(scopes)] = (authorization.header, time.monotonic() + lifetime)
        return authorization


def run_auth_flow(handshake: AuthFlow, exchange: Callable[[HTTPRequest], HTTPResponse]) -> Authorization:
    """Carry a handshake's requests to the server and its answers back; returns what it comes to."""
    try:
        request = next(handshake)
        while True:
            request = handshake.send(exchange(request))
    except StopIteration as end:
        authorization: Authorization = end.value
        return authorization


def _key(scopes: Sequence[Scope]) -> tuple[str, ...]:
    return tuple(map(str, scopes))
