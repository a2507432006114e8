"""The status of containers as docker prints it, and times as ``--since`` accepts them."""

import re
from datetime import UTC, datetime, timedelta

from hythe.cli.units import human_age, human_duration, parse_time
from hythe.containers.container import ContainerState, ContainerStatus
from hythe.containers.errors import InvalidOption

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?")


def parse_since(text: str, now: datetime | None = None) -> str:
    """Return the log timestamp for a time or for a duration ago such as ``10m``; "" for "". Raises InvalidOption."""
    if not text:
        return ""
    match = _DURATION.fullmatch(text)
    if match is not None:
        days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
        ago = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        return _format_time((now or datetime.now(UTC)) - ago)
    time = parse_time(text)
    if time is None:
        raise InvalidOption(f"invalid time {text!r}", "use 2026-11-23T15:00:00Z, or 10m for ten minutes ago")
    return _format_time(time)


def _format_time(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def describe(status: ContainerStatus, now: datetime | None = None) -> str:
    """Return the STATUS column of ``ps``: ``Up 5 minutes``, ``Exited (0) 2 hours ago``, ``Created``."""
    if status.state is ContainerState.EXITED:
        ago = f" {human_age(status.finished, now)}" if status.finished else ""
        return f"Exited ({status.exit_code}){ago}"
    started = parse_time(status.started)
    if status.state is ContainerState.CREATED or started is None:
        return "Created"
    return f"Up {human_duration(((now or datetime.now(UTC)) - started).total_seconds())}"
