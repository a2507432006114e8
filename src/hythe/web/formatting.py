"""Format times, sizes, commands and validation errors for pages."""

import re
import shlex
from collections.abc import Sequence
from datetime import datetime, timedelta

from hythe.hub.wording import counted

_AGES = (
    (timedelta(days=365), "year"),
    (timedelta(days=30), "month"),
    (timedelta(days=1), "day"),
    (timedelta(hours=1), "hour"),
    (timedelta(minutes=1), "minute"),
)
_SIZES = ("bytes", "kB", "MB", "GB", "TB")
_SHELL = re.compile(r"(?:RUN )?(?:\|\d+ .*? )?/bin/sh -c (#\(nop\))?\s*", re.DOTALL)
_PROBLEMS = (
    (re.compile(r"expected `str` of length >= 1\b"), "is required"),
    (re.compile(r"expected `str` of length >= (\d+)"), r"must have at least \1 characters"),
    (re.compile(r"expected `str` of length <= (\d+)"), r"must have at most \1 characters"),
    (re.compile(r"expected `array` of length >= 1"), "is required: choose at least one"),
    (re.compile(r"expected `array` of length <= (\d+)"), r"must be at most \1"),
    (re.compile(r"expected `int` >= (\d+)"), r"must be at least \1"),
    (re.compile(r"expected `int` <= (\d+)"), r"must be at most \1"),
    (re.compile(r"expected `int.*`, got .*"), "must be a whole number"),
    (re.compile(r"invalid enum value .*"), "must be one of the choices"),
)


def age(moment: datetime, now: datetime) -> str:
    """Format how long ago ``moment`` was: ``3 days ago``."""
    passed = now - moment
    for unit, name in _AGES:
        if passed >= unit:
            return f"{counted(passed // unit, name)} ago"
    return "just now"


def day(moment: datetime) -> str:
    """Format a date: ``23 November 2026``."""
    return f"{moment.day} {moment:%B %Y}"


def moment(at: datetime) -> str:
    """Format a time in UTC to the second: ``2026-11-23 12:00:00``."""
    return f"{at:%Y-%m-%d %H:%M:%S}"


def size(count: int) -> str:
    """Format bytes in powers of 1000, as docker does: ``4.21 MB``."""
    if count < 1000:
        return counted(count, "byte")
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(_SIZES) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.3g} {_SIZES[unit]}"


def size_range(counts: list[int]) -> str:
    """Format a range of sizes: ``3.9 MB to 4.2 MB``, or one size if both ends look the same."""
    smallest, largest = size(min(counts)), size(max(counts))
    return smallest if smallest == largest else f"{smallest} to {largest}"


def instruction(text: str) -> str:
    """Return the Dockerfile instruction of a history entry, without what builders add around it."""
    text = text.removesuffix(" # buildkit")
    match = _SHELL.match(text)
    if match is None:
        return text
    rest = text[match.end() :]
    return rest if match[1] else f"RUN {rest}"


def problem(text: str) -> str:
    """Translate msgspec's validation errors to plain English; return any other text unchanged."""
    for pattern, message in _PROBLEMS:
        if match := pattern.match(text):
            return match.expand(message)
    return text


def command_line(words: Sequence[str] | None) -> str:
    """Return a command quoted for a shell."""
    return shlex.join(words or ())


def sentence(text: str) -> str:
    """Return the text with a capital first letter."""
    return text[:1].upper() + text[1:]
