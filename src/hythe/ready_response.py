"""Responses that an application has in memory, which the HTTP server sends without starting a task for the request.

A task, its context, and the layers of an application cost as much as the rest of a small response together.
"""

from collections.abc import Callable, MutableMapping, Sequence
from typing import Any, TypeAlias

UNREADY = frozenset({b"content-length", b"transfer-encoding", b"expect", b"origin", b"sec-fetch-site"})
"""Headers of requests that take no shortcut: those with a body, and those of browsers, which are checked first."""


class ReadyResponse:
    """A response with all headers but those that differ between requests; for HEAD ``body`` is empty.

    ``user`` is the account that sent the request. ``head`` is where the server keeps the headers in wire format.
    """

    __slots__ = ("body", "head", "headers", "status", "user")

    def __init__(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes, user: str) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.user = user
        self.head: bytes | None = None


Answer: TypeAlias = Callable[[ReadyResponse | None], bool]
"""Sends a response and returns whether it did; otherwise, and for None, the application gets the request."""

Shortcut: TypeAlias = Callable[[MutableMapping[str, Any], Answer], bool]
"""Looks for the response to a request, given its ASGI scope, and calls the answer once, now or later.

Returns False, without calling it, if there is none.
"""
