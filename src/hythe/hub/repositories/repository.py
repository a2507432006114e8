"""A repository as the index stores it."""

from datetime import datetime

import msgspec

from hythe.hub.accounts.namespaces import short_name
from hythe.hub.accounts.user import Visibility

DESCRIPTION_LENGTH = 100
"""Maximum characters of the short description, which lists and search show."""

FULL_DESCRIPTION_LENGTH = 25_000
"""Maximum characters of the full description, which is Markdown."""


class Repository(msgspec.Struct, frozen=True):
    """A repository in the index. ``pushed_at`` None: nothing was pushed yet. ``built``: it has Trusted Builds."""

    id: int
    namespace: str
    name: str
    visibility: Visibility
    official: bool
    description: str
    full_description: str
    stars: int
    pulls: int
    created_at: datetime
    updated_at: datetime
    pushed_at: datetime | None
    built: bool = False

    @property
    def full_name(self) -> str:
        """NAMESPACE/NAME, the spelling that the registry uses."""
        return f"{self.namespace}/{self.name}"

    @property
    def short_name(self) -> str:
        """The name that users type after the host: ``centos`` for ``library/centos``."""
        return short_name(self.full_name)

    @property
    def private(self) -> bool:
        """Whether only its owner may see it."""
        return self.visibility is Visibility.PRIVATE
