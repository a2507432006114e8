"""The roles of accounts. The table in ``hub.access.actions`` says what each one may do.

The database stores roles on repositories and in organizations as numbers, so that the highest of several wins.
"""

from enum import Enum, IntEnum


class RepositoryRole(IntEnum):
    """A role on a repository; each one includes those before it."""

    READ = 1
    WRITE = 2
    ADMIN = 3

    @property
    def word(self) -> str:
        """The role's name in the API and on pages."""
        return self.name.lower()


class OrganizationRole(IntEnum):
    """A role in an organization; owners may do what members may. Each user is the owner of their own namespace."""

    MEMBER = 1
    OWNER = 2

    @property
    def word(self) -> str:
        """The role's name in the API and on pages."""
        return self.name.lower()


class HubRole(Enum):
    """A role on the whole hub. Administrators may do what curators may."""

    CURATOR = "curator"
    ADMINISTRATOR = "administrator"


class Everyone(Enum):
    """Who may do something without a role: anyone, or each account for itself."""

    ANYONE = "anyone"
    ACCOUNT = "account"
