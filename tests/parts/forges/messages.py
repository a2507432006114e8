"""Requests to a fake forge, its responses, and the webhooks that it sends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class ForgeResponse:
    """A response of the forge."""

    status: int
    value: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class ForgeRequest:
    """A parsed request to the forge."""

    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    body: bytes
    groups: dict[str, str] = field(default_factory=dict)
    """The groups of the route's pattern."""

    @property
    def json(self) -> Any:
        """The JSON body."""
        if self.headers.get("content-type") != "application/json":
            raise RequestRejected(415, f"content type {self.headers.get('content-type')}")
        return json.loads(self.body)


class RequestRejected(Exception):
    """A request that the real forge would reject."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(slots=True)
class SentWebhook:
    """A webhook request, and the hub's reply."""

    url: str
    headers: dict[str, str]
    body: bytes
    status: int = 0
    reply: Any = None
