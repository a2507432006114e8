"""The values of an account."""

from datetime import datetime
from enum import Enum

import msgspec

from hythe.hub.accounts.plan import Plan, PlanUsage


class Visibility(Enum):
    """Who may see a repository: all, all who are signed in, or those who have a role on it."""

    PUBLIC = "public"
    INTERNAL = "internal"
    PRIVATE = "private"


class User(msgspec.Struct, frozen=True):
    """An account with its plan, and what it uses of it."""

    id: int
    name: str
    email: str
    admin: bool
    default_visibility: Visibility
    plan: Plan
    usage: PlanUsage
    created_at: datetime
    blocked: bool = False
    email_confirmed: bool = False
    organization: bool = False
    curator: bool = False
