"""Collaborators and invitations as values."""

from datetime import datetime

import msgspec

from hythe.hub.organizations.organization import RoleWord


class Collaborator(msgspec.Struct, frozen=True):
    """A user with a role on one repository. ``pending``: they have been invited and have not accepted yet."""

    name: str
    role: RoleWord
    since: datetime
    pending: bool = False


class Invitation(msgspec.Struct, frozen=True):
    """An invitation to an organization, perhaps to one of its teams, or to a repository.

    ``organization`` or ``repository`` is empty, and so is ``user`` or ``email``. ``role`` is ``member`` or ``owner`` of
    an organization, or ``read``, ``write`` or ``admin`` on a repository.
    """

    id: int
    role: str
    created_at: datetime
    expires_at: datetime
    invited_by: str
    organization: str = ""
    team: str = ""
    repository: str = ""
    user: str = ""
    email: str = ""
