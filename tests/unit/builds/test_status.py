"""The states of a build."""

import itertools

import pytest

from hythe.builds.errors import Conflict
from hythe.builds.status import Status, follow


def test_a_build_that_is_over_stays_so() -> None:
    """Nothing follows an end state."""
    over = [status for status in Status if status.is_over]

    assert set(over) == {Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.SUPERSEDED}
    for end, wanted in itertools.product(over, Status):
        with pytest.raises(Conflict):
            follow(end, wanted)


def test_a_lost_build_is_queued_anew() -> None:
    """A running build whose worker died goes back to the queue; a running build is never superseded."""
    assert follow(Status.RUNNING, Status.QUEUED) is Status.QUEUED
    with pytest.raises(Conflict):
        follow(Status.RUNNING, Status.SUPERSEDED)
