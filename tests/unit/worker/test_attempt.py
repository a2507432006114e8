"""How attempts end when something fails."""

from __future__ import annotations

from typing import Any

import msgspec
from tests.unit.worker.test_progress import Hub
from tests.unit.worker.test_shared_layers import JOB

from hythe.worker.attempt import Attempt
from hythe.worker.protocol import BuildOutcome, Job


class RecordingHub(Hub):
    """A hub that records the outcomes of builds."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: list[BuildOutcome] = []

    def finish(self, _job: Job, outcome: BuildOutcome) -> None:
        """Record an outcome."""
        self.outcomes.append(outcome)


def test_an_error_in_the_worker_is_reported_as_the_reason() -> None:
    """The error is reported as the reason, with secrets masked; the build does not count as lost."""
    hub: Any = RecordingHub()
    client: Any = None
    faulty: Any = None  # it has no folder
    job = msgspec.structs.replace(JOB, secrets={"token": "NoneType"})

    outcome = Attempt(job, hub, client, faulty).run()

    assert outcome is not None
    assert hub.outcomes == [outcome]
    assert outcome.status == "failed"
    assert outcome.reason.startswith("the worker failed (AttributeError: '***' object has no attribute 'folder')")
    assert outcome.reason in hub.text.decode()
