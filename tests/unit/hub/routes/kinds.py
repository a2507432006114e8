"""The kinds of actors that the tests of the table of actions send every request as, and what the table allows them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import httpx2
from tests.parts.hub import HytheServer

from hythe.hub.access.actions import HubAction
from hythe.hub.access.table import OF_ROBOTS, TABLE
from hythe.hub.actor import Right
from hythe.hub.roles import Everyone, HubRole, OrganizationRole, RepositoryRole

REPOSITORY = "acme/app"
"""A private repository of an organization; ``acme/absent`` does not exist."""

OF_SCOPES = {"pull": Right.READ, "push": Right.WRITE, "delete": Right.DELETE}


class Kind(NamedTuple):
    """A kind of actor: the account, its roles on ``acme/app``, in ``acme`` and on the hub, and what limits them.

    ``rights`` are those of the credential, and ``scopes`` the actions on ``acme/app`` in an access token of the token
    server; None: it is no such token. ``blocked``: an administrator blocked the account.
    """

    account: str
    repository: RepositoryRole | None = None
    organization: OrganizationRole | None = None
    hub: HubRole | None = None
    rights: frozenset[Right] = frozenset(Right)
    scopes: tuple[str, ...] | None = None
    robot: bool = False
    blocked: bool = False

    @property
    def browses(self) -> bool:
        """Whether it opens pages: it has all rights of a person, or none as the anonymous."""
        return self.rights == frozenset(Right) and self.scopes is None and not self.robot

    def allowed(self, action: HubAction, *, own: bool = False) -> bool:
        """Return whether the table allows the action on ``acme/app``, or in ``acme``, or on the hub.

        ``own``: in the namespace of the actor's own account instead.
        """
        rule = TABLE[action]
        if rule.needs is Everyone.ANYONE:
            return not self.blocked
        if not self.account or self.blocked or rule.right not in self.rights:
            return False
        if self.robot and action not in OF_ROBOTS:
            return False
        if self.scopes is not None and not isinstance(rule.needs, RepositoryRole):
            return False
        if own and isinstance(rule.needs, RepositoryRole | OrganizationRole):
            return True
        if rule.also is not None and self.hub in (rule.also, HubRole.ADMINISTRATOR):
            return True
        match rule.needs:
            case RepositoryRole() as needed:
                return self.repository is not None and self.repository >= needed
            case OrganizationRole() as needed:
                return self.organization is not None and self.organization >= needed
            case HubRole() as needed:
                return self.hub in (needed, HubRole.ADMINISTRATOR)
        return True


_READ, _WRITE, _ADMIN = RepositoryRole.READ, RepositoryRole.WRITE, RepositoryRole.ADMIN
_MEMBER, _OWNER = OrganizationRole.MEMBER, OrganizationRole.OWNER
ROBOT_RIGHTS = frozenset(Right) - {Right.ACCOUNT}
PULLING = frozenset({Right.READ})

KINDS: Mapping[str, Kind] = {
    "anonymous": Kind(""),
    "stranger": Kind("ben"),
    "invited": Kind("ivy"),
    "reader": Kind("rita", _READ),
    "writer": Kind("will", _WRITE),
    "repository admin": Kind("ada", _ADMIN),
    "member": Kind("max", None, _MEMBER),
    "member of a team": Kind("tim", _WRITE, _MEMBER),
    "owner": Kind("ann", _ADMIN, _OWNER),
    "curator": Kind("cora", hub=HubRole.CURATOR),
    "administrator": Kind("curator", hub=HubRole.ADMINISTRATOR),
    "blocked owner": Kind("bob", _ADMIN, _OWNER, blocked=True),
    "owner's pull token": Kind("ann", _ADMIN, _OWNER, rights=PULLING),
    "robot": Kind("acme+ci", _ADMIN, _OWNER, rights=ROBOT_RIGHTS, robot=True),
    "pull robot": Kind("acme+reader", _ADMIN, _OWNER, rights=PULLING, robot=True),
    "access token for pulls": Kind("ann", _ADMIN, _OWNER, rights=PULLING, scopes=("pull",)),
    "access token for all": Kind("ann", _ADMIN, _OWNER, rights=frozenset(OF_SCOPES.values()), scopes=tuple(OF_SCOPES)),
}


@dataclass(frozen=True, slots=True)
class RolesHub:
    """A hub on which every kind of actor has its roles. ``secrets``: their passwords and tokens."""

    server: HytheServer
    secrets: Mapping[str, str]
    browsers: Mapping[str, httpx2.Client]

    def credentials(self, kind: str) -> tuple[str, str] | None:
        """Return name and password, or token, for Basic authentication."""
        account = KINDS[kind].account
        return (account, self.secrets[kind]) if account else None

    def client(self, kind: str) -> httpx2.Client:
        """Return a client of the API, to be closed by the caller."""
        client = httpx2.Client(base_url=self.server.url, timeout=30)
        scopes = KINDS[kind].scopes
        if scopes is None:
            client.auth = self.credentials(kind)
        else:
            client.headers["Authorization"] = f"Bearer {self.access_token(kind, scopes)}"
        return client

    def access_token(self, kind: str, scopes: tuple[str, ...]) -> str:
        """Return an access token of the token server, for these actions on the repository as far as they may."""
        query = {"service": self.server.host, "scope": f"repository:{REPOSITORY}:{','.join(scopes)}"}
        reply = httpx2.get(f"{self.server.url}/token", params=query, auth=self.credentials(kind))
        assert reply.status_code == 200, reply.text
        return str(reply.json()["token"])
