"""The states of a build, and the transitions between them.

queued ──claimed──> running ──> succeeded
  │  ^                 │ │ └──> failed
  │  └──worker lost────┘ └────> cancelled
  ├──────────────────────────> cancelled
  └──────────────────────────> superseded     (a newer commit of the same rule and ref was queued)
"""

from enum import Enum

from hythe.builds.errors import BuildConflict


class BuildStatus(Enum):
    """The status of a build; the values are those of the API."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"

    @property
    def is_over(self) -> bool:
        """Whether the build has finished."""
        return not _NEXT[self]


_NEXT = {
    BuildStatus.QUEUED: {BuildStatus.RUNNING, BuildStatus.CANCELLED, BuildStatus.SUPERSEDED, BuildStatus.FAILED},
    BuildStatus.RUNNING: {BuildStatus.QUEUED, BuildStatus.SUCCEEDED, BuildStatus.FAILED, BuildStatus.CANCELLED},
    BuildStatus.SUCCEEDED: set(),
    BuildStatus.FAILED: set(),
    BuildStatus.CANCELLED: set(),
    BuildStatus.SUPERSEDED: set(),
}


def follow(present: BuildStatus, wanted: BuildStatus) -> BuildStatus:
    """Return ``wanted`` if it can follow ``present``. Raises BuildConflict."""
    if wanted not in _NEXT[present]:
        raise BuildConflict(f"a build that is {present.value} cannot become {wanted.value}")
    return wanted
