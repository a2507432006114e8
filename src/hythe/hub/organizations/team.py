"""Teams of organizations as values."""

from datetime import datetime

import msgspec

from hythe.hub.organizations.organization import RoleWord


class Team(msgspec.Struct, frozen=True):
    """A team. ``applying``: a change of its grants is being applied to the organization's repositories."""

    id: int
    organization_id: int
    name: str
    description: str
    created_at: datetime
    applying: bool = False


class TeamMember(msgspec.Struct, frozen=True):
    """A member of a team."""

    user_id: int
    name: str
    added_at: datetime


class TeamGrant(msgspec.Struct, frozen=True):
    """A role on one repository or on all whose names match a pattern; the other of the two is empty."""

    id: int
    role: RoleWord
    repository: str = ""
    pattern: str = ""
