"""Parsing ``--ulimit``: resource limits of each process in a container (``getrlimit(2)``)."""

from hythe.containers.container import ProcessLimit
from hythe.containers.errors import InvalidOption

_NAMES = (
    "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
    "rttime", "sigpending", "stack",
)  # fmt: skip


def parse_process_limit(text: str) -> ProcessLimit:
    """Parse ``NAME=SOFT[:HARD]``; -1 or ``unlimited`` means no limit. Raises InvalidOption."""
    name, equals, values = text.partition("=")
    soft, colon, hard = values.partition(":")
    if name not in _NAMES or not equals:
        raise InvalidOption(f"invalid limit {text!r}", f"write NAME=SOFT[:HARD] with one of {', '.join(_NAMES)}")
    limit = ProcessLimit(name, _parse(soft), _parse(hard if colon else soft))
    if limit.hard >= 0 and not 0 <= limit.soft <= limit.hard:
        raise InvalidOption(f"invalid limit {text!r}: the soft limit exceeds the hard limit", "lower the soft limit")
    return limit


def _parse(text: str) -> int:
    if text in ("-1", "unlimited"):
        return -1
    if not text.isdecimal():
        raise InvalidOption(f"invalid limit {text!r}", "write a number, or unlimited")
    return int(text)
