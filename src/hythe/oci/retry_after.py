"""The ``Retry-After`` header (RFC 9110, section 10.2.3)."""

from datetime import UTC, datetime


def seconds_until(retry_after: str, now: float) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks to wait, 0 or more; None if it is missing or malformed.

    The header has seconds or a date; ``now`` is the time in seconds since the epoch.
    """
    text = retry_after.strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    if not text:
        return None
    from email.utils import parsedate_to_datetime  # takes 5 ms, and most headers have seconds

    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError, IndexError):
        return None
    return max(0.0, (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now)


def retry_after(until: datetime, now: datetime) -> int:
    """Return the ``Retry-After`` header, in seconds, of a response that asks to wait until a time."""
    return max(1, -int(-(until - now).total_seconds() // 1))
