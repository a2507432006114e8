"""Sizes, times and IDs in docker's formats."""

from datetime import UTC, datetime

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def human_size(count: float) -> str:
    """Return bytes in decimal units with three digits: ``4.26MB``."""
    unit = 0
    while count >= 1000 and unit < len(_UNITS) - 1:
        count /= 1000
        unit += 1
    return f"{count:.3g}{_UNITS[unit]}" if unit else f"{int(count)}B"


def human_duration(seconds: float) -> str:
    """Return a duration rounded like docker's: ``About a minute``, ``3 weeks``."""
    minutes, hours = int(seconds / 60), round(seconds / 3600)
    exact = [
        (seconds < 1, "Less than a second"),
        (seconds < 2, "1 second"),
        (seconds < 60, f"{int(seconds)} seconds"),
        (minutes == 1, "About a minute"),
        (minutes < 60, f"{minutes} minutes"),
        (hours == 1, "About an hour"),
        (hours < 48, f"{hours} hours"),
        (hours < 24 * 7 * 2, f"{hours // 24} days"),
        (hours < 24 * 30 * 2, f"{hours // 24 // 7} weeks"),
        (hours < 24 * 365 * 2, f"{hours // 24 // 30} months"),
    ]
    return next((words for applies, words in exact if applies), f"{hours // 24 // 365} years")


def parse_time(text: str) -> datetime | None:
    """Return an RFC 3339 time, None if ``text`` is not one (such as an image without ``created``)."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def human_age(text: str, now: datetime | None = None) -> str:
    """Return the age of an RFC 3339 time; ``N/A`` if ``text`` is not one."""
    moment = parse_time(text)
    if moment is None or moment.year <= 1:
        return "N/A"
    return f"{human_duration(max(0.0, ((now or datetime.now(UTC)) - moment).total_seconds()))} ago"


def docker_time(text: str) -> str:
    """Return an RFC 3339 time in the format of docker's ``CreatedAt``: ``2026-11-23 15:40:00 +0000 UTC``."""
    moment = parse_time(text)
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S +0000 UTC") if moment else "N/A"


def exact_time(text: str) -> str:
    """Return an RFC 3339 time to the second, like ``docker history``: ``2026-11-23T15:40:00Z``."""
    moment = parse_time(text)
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else "N/A"


def ellipsis(text: str, length: int) -> str:
    """Cut ``text`` to ``length`` characters, ending with an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"
