"""Build schedules: ``every 6h``, ``daily 04:00``, ``weekly mon 04:00`` (times in UTC); empty: never."""

import re
from datetime import datetime, timedelta

from hythe.builds.errors import InvalidBuildConfiguration

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MIN_INTERVAL = timedelta(minutes=15)
_EVERY = re.compile(r"every ([1-9][0-9]{0,4})([mhd])")
_DAILY = re.compile(r"daily ([01][0-9]|2[0-3]):([0-5][0-9])")
_WEEKLY = re.compile(rf"weekly ({'|'.join(DAYS)}) ([01][0-9]|2[0-3]):([0-5][0-9])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def next_due(schedule: str, now: datetime) -> datetime | None:
    """Return the first time after ``now``, None for the empty schedule. Raises InvalidBuildConfiguration."""
    text = " ".join(schedule.lower().split())
    if not text:
        return None
    if found := _EVERY.fullmatch(text):
        span = timedelta(**{_UNITS[found[2]]: int(found[1])})
        if span < MIN_INTERVAL:
            raise InvalidBuildConfiguration(f"{schedule!r} is too often", "build at most every 15m")
        return now + span
    if found := _DAILY.fullmatch(text):
        due = now.replace(hour=int(found[1]), minute=int(found[2]), second=0, microsecond=0)
        return due if due > now else due + timedelta(days=1)
    if found := _WEEKLY.fullmatch(text):
        due = now.replace(hour=int(found[2]), minute=int(found[3]), second=0, microsecond=0)
        due += timedelta(days=(DAYS.index(found[1]) - now.weekday()) % 7)
        return due if due > now else due + timedelta(days=7)
    raise InvalidBuildConfiguration(
        f"{schedule!r} is not a schedule", "use 'every 6h', 'daily 04:00' or 'weekly mon 04:00' (UTC)"
    )
