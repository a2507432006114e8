"""Limits of each process in a container, as ``--ulimit`` writes them (``getrlimit(2)``)."""

from hythe.containers.container import ProcessLimit
from hythe.containers.errors import InvalidOption

_NAMES = (
    "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
    "rttime", "sigpending", "stack",
)  # fmt: skip


def parse_process_limit(text: str) -> ProcessLimit:
    """Return the limit that ``NAME=SOFT[:HARD]`` asks for; -1 or ``unlimited`` is none. Raises InvalidOption."""
    name, equals, values = text.partition("=")
    soft, colon, hard = values.partition(":")
    if name not in _NAMES or not equals:
        raise InvalidOption(f"{text!r} is not a limit", f"write NAME=SOFT[:HARD] with one of {', '.join(_NAMES)}")
    limit = ProcessLimit(name, _parse(soft), _parse(hard if colon else soft))
    if limit.hard >= 0 and not 0 <= limit.soft <= limit.hard:
        raise InvalidOption(f"{text!r}: the soft limit is above the hard one", "the hard one is as far as it can go")
    return limit


def _parse(text: str) -> int:
    if text in ("-1", "unlimited"):
        return -1
    if not text.isdecimal():
        raise InvalidOption(f"{text!r} is not a limit", "write a number, or unlimited")
    return int(text)
