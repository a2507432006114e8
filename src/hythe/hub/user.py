"""The values of an account."""

from datetime import datetime
from enum import Enum

import msgspec


class Visibility(Enum):
    """Who sees a repository."""

    PUBLIC = "public"
    PRIVATE = "private"


class User(msgspec.Struct, frozen=True):
    """An account with ``private_count`` private repositories; it may have ``private_limit`` (None: any number)."""

    id: int
    name: str
    email: str
    admin: bool
    default_visibility: Visibility
    private_limit: int | None
    private_count: int
    created_at: datetime
