"""What a transfer tells about itself while it runs."""

from collections.abc import Sequence
from enum import Enum

from hythe.oci.manifest import Descriptor


class TransferState(Enum):
    """Where one layer or configuration is on its way."""

    WAITING = "waiting"
    EXISTS = "exists"
    MOVING = "moving"
    RETRYING = "retrying"
    MOUNTED = "mounted"
    DONE = "done"


class Reporter:
    """Is told of progress and says nothing; what shows it to people derives from this. Called by several threads."""

    def begin(self, contents: Sequence[Descriptor]) -> None:
        """These will move, or turn out to be there."""

    def state(self, content: Descriptor, state: TransferState, detail: str = "") -> None:
        """``content`` is now in ``state``; ``detail`` says why it is tried again, or where it was mounted from."""

    def advance(self, content: Descriptor, count: int) -> None:
        """``count`` more bytes of ``content`` moved; fewer than none when it starts anew."""
