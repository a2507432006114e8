"""The states of a build, and which may follow which.

queued ──claimed──> running ──> succeeded
  │  ^                 │ │ └──> failed
  │  └──worker lost────┘ └────> cancelled
  ├──────────────────────────> cancelled
  └──────────────────────────> superseded     (a newer commit of the same rule and ref came)
"""

from enum import Enum

from hythe.builds.errors import Conflict


class Status(Enum):
    """Where a build stands; the values are the words of the API."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"

    @property
    def is_over(self) -> bool:
        """Whether nothing more can happen to a build in this state."""
        return not _NEXT[self]


_NEXT = {
    Status.QUEUED: {Status.RUNNING, Status.CANCELLED, Status.SUPERSEDED, Status.FAILED},
    Status.RUNNING: {Status.QUEUED, Status.SUCCEEDED, Status.FAILED, Status.CANCELLED},
    Status.SUCCEEDED: set(),
    Status.FAILED: set(),
    Status.CANCELLED: set(),
    Status.SUPERSEDED: set(),
}


def follow(present: Status, wanted: Status) -> Status:
    """Return ``wanted`` when it may follow ``present``; raises Conflict."""
    if wanted not in _NEXT[present]:
        raise Conflict(f"a build that is {present.value} cannot become {wanted.value}")
    return wanted
