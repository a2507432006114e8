"""The states of a build."""

import itertools

import pytest

from hythe.builds.errors import BuildConflict
from hythe.builds.status import BuildStatus, follow


def test_a_finished_build_keeps_its_status() -> None:
    """Final states have no transitions."""
    final = [status for status in BuildStatus if status.is_over]

    assert set(final) == {BuildStatus.SUCCEEDED, BuildStatus.FAILED, BuildStatus.CANCELLED, BuildStatus.SUPERSEDED}
    for end, wanted in itertools.product(final, BuildStatus):
        with pytest.raises(BuildConflict):
            follow(end, wanted)


def test_a_build_of_a_lost_worker_is_queued_again() -> None:
    """A running build can be queued again, but never superseded."""
    assert follow(BuildStatus.RUNNING, BuildStatus.QUEUED) is BuildStatus.QUEUED
    with pytest.raises(BuildConflict):
        follow(BuildStatus.RUNNING, BuildStatus.SUPERSEDED)
