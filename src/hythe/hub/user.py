"""The values of an account."""

from datetime import datetime
from enum import Enum

import msgspec


class Visibility(Enum):
    """Who may see a repository."""

    PUBLIC = "public"
    PRIVATE = "private"


class User(msgspec.Struct, frozen=True):
    """An account with ``private_count`` private repositories, at most ``private_limit`` (None: unlimited)."""

    id: int
    name: str
    email: str
    admin: bool
    default_visibility: Visibility
    private_limit: int | None
    private_count: int
    created_at: datetime
