"""How an attempt ends, whatever comes of it."""

from __future__ import annotations

from typing import Any

import msgspec
from tests.unit.worker.test_progress import Hub
from tests.unit.worker.test_shared_layers import JOB

from hythe.worker.attempt import Attempt
from hythe.worker.protocol import BuildOutcome, Job


class Finishing(Hub):
    """A hub that is told how builds end."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: list[BuildOutcome] = []

    def finish(self, _job: Job, outcome: BuildOutcome) -> None:
        """Take an outcome."""
        self.outcomes.append(outcome)


def test_a_fault_of_the_worker_ends_the_build_with_a_sentence() -> None:
    """It is told as the reason, without the build's secrets, rather than as workers that were lost."""
    hub: Any = Finishing()
    client: Any = None
    faulty: Any = None  # what has no folder, to begin with
    job = msgspec.structs.replace(JOB, secrets={"token": "NoneType"})

    outcome = Attempt(job, hub, client, faulty).run()

    assert outcome is not None
    assert hub.outcomes == [outcome]
    assert outcome.status == "failed"
    assert outcome.reason.startswith("the worker failed (AttributeError: '***' object has no attribute 'folder')")
    assert outcome.reason in hub.text.decode()
