"""What every kind of token is checked against: rights, repositories and expiry."""

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from hythe.hub.actor import EVERY_RIGHT, Right
from hythe.hub.errors import Invalid
from hythe.hub.organizations.name_patterns import parse_repository_patterns, repository_patterns_problem
from hythe.hub.wording import counted

MAX_TOKENS = 200
"""Maximum number of personal tokens of an account, and of robots of a namespace."""

ROBOT_RIGHTS = EVERY_RIGHT - {Right.ACCOUNT}
"""What a robot or a CI job can be allowed: an account is managed by people."""

Days = Annotated[int, Meta(ge=1, le=3650)]
Pattern = Annotated[str, Meta(min_length=1, max_length=255)]
Patterns = Annotated[tuple[Pattern, ...], Meta(max_length=50)]


class Rotation(msgspec.Struct, frozen=True):
    """A new secret for a token. The present one works for ``overlap_hours`` more.

    ``expires_in_days`` None: the token expires when it would have.
    """

    overlap_hours: Annotated[int, Meta(ge=0, le=24)] = 0
    expires_in_days: Days | None = None


class LimitsChange(msgspec.Struct, frozen=True):
    """What to change of the limits of a token or a trust rule. ``repositories`` None: all that it can be for."""

    rights: tuple[Right, ...] | UnsetType = UNSET
    repositories: Patterns | UnsetType | None = UNSET


class TokenTerms:
    """Checks the terms of new and changed tokens."""

    def __init__(self, clock: Callable[[], datetime], max_age: int = 0) -> None:
        """``max_age``: the longest lifetime in seconds; 0: tokens need not expire."""
        self._clock = clock
        self._max_age = timedelta(seconds=max_age)

    def apply(self, max_age: int) -> None:
        """Take over a changed longest lifetime, for tokens that are made or changed from now on."""
        self._max_age = timedelta(seconds=max_age)

    @property
    def max_days(self) -> int:
        """The most days after which a token must expire; 0: it need not."""
        return max(self._max_age.days, 1) if self._max_age else 0

    def expiry(self, days: int | None) -> datetime | None:
        """Return when a token expires that is made now. Raises Invalid."""
        if self._max_age and (days is None or days > self.max_days):
            raise Invalid({"expires_in_days": f"must be at most {counted(self.max_days, 'day')} on this hub"})
        if days is None:
            return None
        wanted = timedelta(days=days)
        return self._clock() + (min(wanted, self._max_age) if self._max_age else wanted)


def checked_rights(rights: Collection[Right], allowed: Collection[Right] = EVERY_RIGHT) -> frozenset[Right]:
    """Return rights, of which there must be some. Raises Invalid."""
    if not rights or not frozenset(rights).issubset(allowed):
        words = ", ".join(right.value for right in Right if right in allowed)
        raise Invalid({"rights": f"must contain some of {words}, and nothing else"})
    return frozenset(rights)


def checked_repositories(repositories: Collection[str], namespace: str = "") -> tuple[str, ...]:
    """Return the canonical names and patterns of repositories, all in ``namespace`` if it is given. Raises Invalid."""
    parsed = parse_repository_patterns(repositories)
    if problem := repository_patterns_problem(parsed, namespace):
        raise Invalid({"repositories": problem})
    return parsed
