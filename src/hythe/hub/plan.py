"""What an account may use, and what it uses."""

import msgspec

from hythe.settings import Settings


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of an account; None: unlimited. Each field is a column of ``users`` and a field of the JSON API.

    ``storage_limit`` is in bytes. The plans of administrators are not enforced.
    """

    private_limit: int | None = None
    repository_limit: int | None = None
    storage_limit: int | None = None
    upload_limit: int | None = None

    @classmethod
    def of(cls, settings: Settings) -> "Plan":
        """Return the plan of new accounts."""
        return cls(
            private_limit=_limit(settings.private_repositories),
            repository_limit=_limit(settings.repositories_per_account),
            storage_limit=_limit(settings.storage_per_account),
            upload_limit=_limit(settings.uploads_per_account),
        )


class PlanUsage(msgspec.Struct, frozen=True, kw_only=True):
    """How much an account uses of each limit: private repositories, repositories, bytes, and open uploads."""

    private_count: int = 0
    repository_count: int = 0
    storage_used: int = 0
    upload_count: int = 0


def _limit(setting: int | str) -> int | None:
    return None if isinstance(setting, str) else setting
