"""How attempts end when something fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.worker.test_shared_layers import JOB

from hythe.worker.attempt import Attempt
from hythe.worker.build_messages import BuildMessage, BuildStart
from hythe.worker.errors import BuildStopped, Interrupted, LimitReached
from hythe.worker.isolation.selection import Isolation


class FaultyAttempt(Attempt):
    """An attempt whose disks cannot be opened because of ``error``."""

    error: BaseException

    def _open_disks(self, _stack: Any) -> Any:
        raise self.error


def outcome_of(error: BaseException) -> tuple[str, str]:
    """Return status and reason of an attempt that ends because of ``error``."""
    nothing: Any = None
    sent: list[BuildMessage] = []
    isolation = Isolation(Path("/none"), 0, groups=False, images=False, networks=frozenset())
    attempt = FaultyAttempt(BuildStart(JOB, "", "", isolation, 0.0), nothing, nothing, sent.append)
    attempt.error = error
    outcome = attempt.run()
    attempt.interrupt(BuildStopped())  # too late to have an effect
    return outcome.status, outcome.reason


def test_an_error_in_the_worker_is_reported_as_the_reason() -> None:
    """The build does not count as lost."""
    assert outcome_of(AttributeError("x")) == (
        "failed",
        "the worker failed (AttributeError: x): see its log, and retry when it is fixed",
    )


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (Interrupted(LimitReached("it took longer than its 5 seconds")), "failed", "it took longer than its 5 seconds"),
        (Interrupted(BuildStopped()), "cancelled", "stopped"),
        (MemoryError(), "failed", "the build stopped: it used more than its 4096 MiB of memory"),
    ],
)
def test_a_limit_ends_the_attempt(error: BaseException, status: str, reason: str) -> None:
    """The reason says which."""
    found = outcome_of(error)

    assert found[0] == status
    assert reason in found[1]
