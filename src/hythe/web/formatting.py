"""How pages say times, sizes and counts."""

import re
import shlex
from collections.abc import Sequence
from datetime import datetime, timedelta

_AGES = (
    (timedelta(days=365), "year"),
    (timedelta(days=30), "month"),
    (timedelta(days=1), "day"),
    (timedelta(hours=1), "hour"),
    (timedelta(minutes=1), "minute"),
)
_SIZES = ("bytes", "kB", "MB", "GB", "TB")
_SHELL = re.compile(r"(?:RUN )?(?:\|\d+ .*? )?/bin/sh -c (#\(nop\))?\s*", re.DOTALL)
_TROUBLES = (
    (re.compile(r"expected `str` of length >= 1\b"), "is required"),
    (re.compile(r"expected `str` of length >= (\d+)"), r"must have at least \1 characters"),
    (re.compile(r"expected `str` of length <= (\d+)"), r"must have at most \1 characters"),
    (re.compile(r"expected `array` of length >= 1"), "needs a choice"),
    (re.compile(r"expected `array` of length <= (\d+)"), r"must be at most \1"),
    (re.compile(r"expected `int` >= (\d+)"), r"must be at least \1"),
    (re.compile(r"expected `int` <= (\d+)"), r"must be at most \1"),
    (re.compile(r"expected `int.*`, got .*"), "must be a whole number"),
    (re.compile(r"invalid enum value .*"), "must be one of the choices"),
)


def age(moment: datetime, now: datetime) -> str:
    """Say how long ago ``moment`` was: ``3 days ago``."""
    passed = now - moment
    for unit, name in _AGES:
        if passed >= unit:
            return f"{counted(passed // unit, name)} ago"
    return "just now"


def day(moment: datetime) -> str:
    """Say the day: ``23 November 2026``."""
    return f"{moment.day} {moment:%B %Y}"


def size(count: int) -> str:
    """Say a number of bytes in powers of a thousand, as docker does: ``4.21 MB``."""
    if count < 1000:
        return counted(count, "byte")
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(_SIZES) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.3g} {_SIZES[unit]}"


def size_range(counts: list[int]) -> str:
    """Say the sizes of several images: ``3.9 MB to 4.2 MB``, or one size where they hardly differ."""
    smallest, largest = size(min(counts)), size(max(counts))
    return smallest if smallest == largest else f"{smallest} to {largest}"


def counted(count: int, one: str, many: str = "") -> str:
    """Say how many: ``1 pull``, ``2,000 pulls``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def instruction(text: str) -> str:
    """Return a step of an image's history as it stood in the Dockerfile, without what builders write around it."""
    written = text.removesuffix(" # buildkit")
    found = _SHELL.match(written)
    if found is None:
        return written
    rest = written[found.end() :]
    return rest if found[1] else f"RUN {rest}"


def problem(text: str) -> str:
    """Say what is wrong with a field as people do, where the parser's word for it is a programmer's."""
    for pattern, said in _TROUBLES:
        if found := pattern.match(text):
            return found.expand(said)
    return text


def command_line(words: Sequence[str] | None) -> str:
    """Return a command as a shell would take it."""
    return shlex.join(words or ())


def sentence(text: str) -> str:
    """Return the text beginning with a capital letter."""
    return text[:1].upper() + text[1:]
