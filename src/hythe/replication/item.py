"""What is behind, and what was done about it."""

from datetime import datetime
from enum import Enum

import msgspec

RETRY_DELAYS = (5, 15, 60, 300, 900, 3600)
"""Seconds after each failed attempt; the last one is repeated for as long as the item is behind."""

WHOLE_REPOSITORY = ""
"""The reference of an item that stands for a repository of which it is not known yet what differs."""


class ReplicationOutcome(Enum):
    """What became of an item."""

    COPIED = "copied"
    EQUAL = "equal"
    DELETED = "deleted"
    KEPT = "kept"
    COMPARED = "compared"
    FAILED = "failed"


class ReplicationItem(msgspec.Struct, frozen=True):
    """A tag or digest of the source that is behind, or (``reference`` empty) a repository to compare.

    ``version`` grows with each event: the item is done only if nothing happened since it was claimed.
    """

    id: int
    rule_id: int
    repository: str
    reference: str
    version: int
    bytes: int
    created_at: datetime
    due_at: datetime
    lease: str
    attempts: int
    problem: str


class ReplicationResult(msgspec.Struct, frozen=True):
    """What was done: ``bytes`` were sent in ``seconds``; ``problem`` is why it failed or was kept."""

    at: datetime
    repository: str
    reference: str
    outcome: ReplicationOutcome
    bytes: int
    seconds: int
    problem: str = ""


class ReplicationBacklog(msgspec.Struct, frozen=True):
    """What is behind: ``items``, their known ``bytes``, since when the oldest waits, and how many failed.

    Not ``exact``: there is more than was counted.
    """

    items: int
    bytes: int
    oldest: datetime | None
    failed: int
    exact: bool = True


def retry_delay(failures: int) -> int:
    """Return the seconds to wait after this many failures in a row."""
    return RETRY_DELAYS[min(failures, len(RETRY_DELAYS)) - 1]
