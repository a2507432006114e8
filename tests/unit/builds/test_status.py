"""The states of a build."""

import itertools

import pytest

from hythe.builds.errors import BuildConflict
from hythe.builds.status import BuildStatus, follow


def test_a_build_that_is_over_stays_so() -> None:
    """Nothing follows an end state."""
    over = [status for status in BuildStatus if status.is_over]

    assert set(over) == {BuildStatus.SUCCEEDED, BuildStatus.FAILED, BuildStatus.CANCELLED, BuildStatus.SUPERSEDED}
    for end, wanted in itertools.product(over, BuildStatus):
        with pytest.raises(BuildConflict):
            follow(end, wanted)


def test_a_lost_build_is_queued_anew() -> None:
    """A running build whose worker died goes back to the queue; a running build is never superseded."""
    assert follow(BuildStatus.RUNNING, BuildStatus.QUEUED) is BuildStatus.QUEUED
    with pytest.raises(BuildConflict):
        follow(BuildStatus.RUNNING, BuildStatus.SUPERSEDED)
