"""Progress reports of a transfer."""

from collections.abc import Sequence
from enum import Enum

from hythe.oci.manifest import Descriptor


class TransferState(Enum):
    """The state of one layer or configuration in a transfer."""

    WAITING = "waiting"
    EXISTS = "exists"
    MOVING = "moving"
    RETRYING = "retrying"
    MOUNTED = "mounted"
    DONE = "done"


class Reporter:
    """Receives progress and ignores it; displays derive from this class. Called from several threads."""

    def begin(self, contents: Sequence[Descriptor]) -> None:
        """The transfer starts, with these blobs."""

    def state(self, content: Descriptor, state: TransferState, detail: str = "") -> None:
        """A blob is now in ``state``; ``detail``: the reason for a retry, or the repository it was mounted from."""

    def advance(self, content: Descriptor, count: int) -> None:
        """``count`` more bytes of a blob were transferred; negative if it restarts."""
