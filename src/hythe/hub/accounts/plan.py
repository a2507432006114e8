"""What an account may use, and what it uses."""

from datetime import datetime

import msgspec

from hythe.settings import Settings

BUILD_DAYS = 30
"""The number of days that the limit of build minutes is for."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of an account; None: unlimited. Each field is a column of ``users`` and a field of the JSON API.

    ``storage_limit`` is in bytes, ``build_limit`` in minutes of builds in BUILD_DAYS. The plans of administrators are
    not enforced.
    """

    private_limit: int | None = None
    repository_limit: int | None = None
    storage_limit: int | None = None
    upload_limit: int | None = None
    build_limit: int | None = None

    @classmethod
    def of(cls, settings: Settings) -> "Plan":
        """Return the plan of new accounts."""
        return cls(
            private_limit=_limit(settings.private_repositories),
            repository_limit=_limit(settings.repositories_per_account),
            storage_limit=_limit(settings.storage_per_account),
            upload_limit=_limit(settings.uploads_per_account),
            build_limit=_limit(settings.build_minutes_per_account),
        )


class PlanUsage(msgspec.Struct, frozen=True, kw_only=True):
    """How much an account uses of each limit.

    Private repositories, repositories, bytes, open uploads, and minutes of builds in the last BUILD_DAYS.
    """

    private_count: int = 0
    repository_count: int = 0
    storage_used: int = 0
    upload_count: int = 0
    build_minutes: int = 0


def first_build_day(now: datetime) -> int:
    """Return the first day, counted from 1970 in UTC, whose builds count for the limit of build minutes."""
    return int(now.timestamp() // 86_400) - BUILD_DAYS + 1


def _limit(setting: int | str) -> int | None:
    return None if isinstance(setting, str) else setting
