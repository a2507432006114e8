"""Events that background tasks and long requests wait for, in this process and in those that serve together with it."""

import asyncio
from collections.abc import Callable


class WakeUp(asyncio.Event):
    """An event that a server which consists of several processes announces to all of them.

    It only saves time: a task that waits looks again after a while, because another server may have made the change.
    """

    def __init__(self) -> None:
        super().__init__()
        self.announce: Callable[[], None] = _do_nothing
        """Tells the other processes; does nothing in a server that is alone."""

    def set(self) -> None:
        """Wake the tasks that wait, here and in other processes."""
        self.set_here()
        self.announce()

    def set_here(self) -> None:
        """Wake the tasks that wait in this process."""
        super().set()


def _do_nothing() -> None:
    """There is no other process."""
