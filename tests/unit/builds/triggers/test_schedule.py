"""Schedules: when the next build is due."""

from datetime import UTC, datetime

import pytest

from hythe.builds.errors import InvalidBuildConfiguration
from hythe.builds.triggers.schedule import next_due

MONDAY = datetime(2026, 11, 23, 15, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "due"),
    [
        ("every 6h", "2026-11-23T21:30"),
        ("every 15m", "2026-11-23T15:45"),
        ("daily 04:00", "2026-11-24T04:00"),
        ("daily 16:00", "2026-11-23T16:00"),
        ("weekly mon 15:00", "2026-11-30T15:00"),
        ("Weekly  TUE 04:00", "2026-11-24T04:00"),
    ],
)
def test_next_due(schedule: str, due: str) -> None:
    """The next due time is after now, in UTC."""
    found = next_due(schedule, MONDAY)

    assert found is not None
    assert found.isoformat()[:16] == due


@pytest.mark.parametrize("schedule", ["every 1m", "daily 25:00", "weekly someday 04:00", "* * * * *"])
def test_invalid_schedules_are_refused(schedule: str) -> None:
    """Invalid schedules raise an error."""
    with pytest.raises(InvalidBuildConfiguration):
        next_due(schedule, MONDAY)


def test_the_empty_schedule_is_never_due() -> None:
    """No schedule, no due time."""
    assert next_due("", MONDAY) is None
