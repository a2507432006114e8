"""HTTP requests and answers as values, for what is small enough to be held in memory."""

from collections.abc import Mapping

import msgspec


class Request(msgspec.Struct, frozen=True):
    """What is asked of a server; ``url`` is absolute."""

    method: str
    url: str
    headers: dict[str, str] = {}
    body: bytes = b""


class Answer(msgspec.Struct, frozen=True):
    """What a server said; header names are lower case."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""

    @property
    def retry_after(self) -> str:
        """The ``Retry-After`` header, "" when there is none."""
        return self.headers.get("retry-after", "")
