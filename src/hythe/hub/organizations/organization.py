"""Organizations and their members as values."""

from datetime import datetime
from enum import Enum

import msgspec

from hythe.hub.accounts.user import Visibility
from hythe.hub.roles import OrganizationRole, RepositoryRole


class RoleWord(Enum):
    """A role on a repository in requests and responses."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"

    @property
    def role(self) -> RepositoryRole:
        """The role."""
        return RepositoryRole[self.name]


class DefaultRole(Enum):
    """The role of every member on all repositories of an organization; ``none``: only what teams give."""

    NONE = "none"
    READ = "read"
    WRITE = "write"
    ADMIN = "admin"

    @property
    def number(self) -> int:
        """The stored form."""
        return 0 if self is DefaultRole.NONE else RepositoryRole[self.name].value

    @classmethod
    def of(cls, number: int) -> "DefaultRole":
        """Return the role of a stored number."""
        return cls[RepositoryRole(number).name] if number else cls.NONE


class MemberWord(Enum):
    """A role in an organization in requests and responses."""

    MEMBER = "member"
    OWNER = "owner"

    @property
    def role(self) -> OrganizationRole:
        """The role."""
        return OrganizationRole[self.name]


def role_word(number: int) -> RoleWord:
    """Return the word of a stored role on a repository."""
    return RoleWord[RepositoryRole(number).name]


def member_word(number: int) -> MemberWord:
    """Return the word of a stored role in an organization."""
    return MemberWord[OrganizationRole(number).name]


class Organization(msgspec.Struct, frozen=True):
    """An organization with its settings.

    ``member_role`` is what every member has on all repositories. ``members_create``: members may create repositories,
    not only owners. ``require_second_factor``: members without one have no role.
    """

    id: int
    name: str
    default_visibility: Visibility
    member_role: DefaultRole
    members_create: bool
    require_second_factor: bool
    created_at: datetime


class Membership(msgspec.Struct, frozen=True):
    """An organization that a user is a member of. ``may_create``: they may create any repository there."""

    organization: str
    role: MemberWord
    joined_at: datetime
    may_create: bool


class Member(msgspec.Struct, frozen=True):
    """A member of an organization."""

    user_id: int
    name: str
    role: MemberWord
    joined_at: datetime
    second_factor: bool
