"""When to build by the clock: ``every 6h``, ``daily 04:00``, ``weekly mon 04:00`` (times in UTC); empty: never."""

import re
from datetime import datetime, timedelta

from hythe.builds.errors import InvalidBuildConfiguration

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SHORTEST = timedelta(minutes=15)
_EVERY = re.compile(r"every ([1-9][0-9]{0,4})([mhd])")
_DAILY = re.compile(r"daily ([01][0-9]|2[0-3]):([0-5][0-9])")
_WEEKLY = re.compile(rf"weekly ({'|'.join(DAYS)}) ([01][0-9]|2[0-3]):([0-5][0-9])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def next_due(schedule: str, now: datetime) -> datetime | None:
    """Return the first moment after ``now`` that the schedule names, None for the empty one. Raises InvalidBuildConfiguration."""
    words = " ".join(schedule.lower().split())
    if not words:
        return None
    if found := _EVERY.fullmatch(words):
        span = timedelta(**{_UNITS[found[2]]: int(found[1])})
        if span < SHORTEST:
            raise InvalidBuildConfiguration(f"{schedule!r} is too often", "at most every 15m")
        return now + span
    if found := _DAILY.fullmatch(words):
        due = now.replace(hour=int(found[1]), minute=int(found[2]), second=0, microsecond=0)
        return due if due > now else due + timedelta(days=1)
    if found := _WEEKLY.fullmatch(words):
        due = now.replace(hour=int(found[2]), minute=int(found[3]), second=0, microsecond=0)
        due += timedelta(days=(DAYS.index(found[1]) - now.weekday()) % 7)
        return due if due > now else due + timedelta(days=7)
    raise InvalidBuildConfiguration(
        f"{schedule!r} is not a schedule", "write 'every 6h', 'daily 04:00' or 'weekly mon 04:00' (UTC)"
    )
