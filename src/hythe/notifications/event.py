"""Events that webhooks and e-mail can subscribe to, in one form for registry, hub and builds."""

from datetime import datetime
from enum import Enum
from typing import Any

import msgspec


class EventKind(Enum):
    """What a webhook can subscribe to, as the API spells it. ``fixed`` is the first success after a failure."""

    SUCCESS = "success"
    FAILURE = "failure"
    FIXED = "fixed"
    PUSH = "push"


class NotificationEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a repository. A build that succeeds after a failure has two kinds, ``success`` and ``fixed``."""

    kinds: tuple[EventKind, ...]
    repository_id: int
    at: datetime
    pusher: str
    tag: str = ""
    dockerfile: str = ""
    build: dict[str, Any] | None = None
    """The field ``build`` of the webhook body; None for events that are not about a build."""
