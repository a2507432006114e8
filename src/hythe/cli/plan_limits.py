"""The limits of a plan: how ``set-plan`` takes them, and how ``list-users`` shows them."""

from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from hythe.cli.output import Column
from hythe.settings import format_bytes, parse_bytes

if TYPE_CHECKING:
    from hythe.hub.accounts.user import User

UNLIMITED = "unlimited"
"""The value of a limit that does not limit."""


class PlanLimit(NamedTuple):
    """A limit of a plan; ``field`` and ``used`` are fields of ``hub.plan``."""

    flag: str
    placeholder: str
    parse: Callable[[str], int | str]
    field: str
    used: str
    meaning: str
    heading: str
    format: Callable[[int], str]

    @property
    def column(self) -> Column:
        """The column of lists that shows the limit."""
        return Column(self.heading, self.heading.title().replace(" ", ""))

    def shown(self, user: "User") -> str:
        """Return how much the user uses, and the limit."""
        limit = getattr(user.plan, self.field)
        return f"{self.format(getattr(user.usage, self.used))}/{UNLIMITED if limit is None else self.format(limit)}"


def _number(text: str) -> int | str:
    if text == UNLIMITED:
        return text
    if not (text.isascii() and text.isdigit() and int(text) < 2**31):
        raise ArgumentTypeError(f"invalid limit {text!r}: use a number or {UNLIMITED}")
    return int(text)


def _size(text: str) -> int | str:
    if text == UNLIMITED:
        return text
    try:
        count = parse_bytes(text)
    except ValueError:
        count = -1
    if not 0 <= count < 2**63:
        raise ArgumentTypeError(f"invalid limit {text!r}: use a size such as 50GiB, or {UNLIMITED}")
    return count


def _compact(count: int) -> str:
    return format_bytes(count).replace(" bytes", "B").replace(" byte", "B").replace(" ", "")


def _counting(flag: str, field: str, used: str, meaning: str, heading: str) -> PlanLimit:
    return PlanLimit(flag, f"N|{UNLIMITED}", _number, field, used, meaning, heading, str)


PLAN_LIMITS = (
    PlanLimit(
        "--storage",
        f"SIZE|{UNLIMITED}",
        _size,
        "storage_limit",
        "storage_used",
        "stored bytes",
        "STORAGE",
        _compact,
    ),
    _counting("--repositories", "repository_limit", "repository_count", "repositories", "REPOSITORIES"),
    _counting("--uploads", "upload_limit", "upload_count", "unfinished uploads", "UPLOADS"),
    _counting("--build-minutes", "build_limit", "build_minutes", "minutes of builds in 30 days", "BUILD MINUTES"),
    _counting("--private-repositories", "private_limit", "private_count", "private repositories", "PRIVATE"),
)
