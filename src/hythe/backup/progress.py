"""Reports how far a long task is."""

from typing import Protocol


class TaskProgress(Protocol):
    """Shows the progress of one phase after the other."""

    def begin(self, phase: str, total: int | None = None, unit: str = "B") -> None:
        """Begin a phase of ``total`` units, None if that is unknown."""

    def advance(self, count: int) -> None:
        """Add units that are done."""
