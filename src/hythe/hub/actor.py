"""Who asks the hub for something, and what their credential limits them to."""

from enum import Enum

import msgspec

from hythe.oci.scope import Scope
from hythe.registry.access import Action, Actor


class Right(Enum):
    """What a credential may be used for; personal tokens hold some of these, passwords and sessions all."""

    READ = "repo:read"
    WRITE = "repo:write"
    DELETE = "repo:delete"
    ACCOUNT = "account"


EVERY_RIGHT = frozenset(Right)

RIGHTS = {Action.PULL: Right.READ, Action.PUSH: Right.WRITE, Action.DELETE: Right.DELETE}
"""Which right of a credential each action on a repository needs."""


class BuildLease(msgspec.Struct, frozen=True):
    """Which attempt at which Trusted Build holds a token; the attempt may be over by now."""

    build_id: int
    fence: int
    key_digest: str


class HubActor(Actor, frozen=True):
    """An account, nobody (``user_id`` None) or the operator, with the limits of the credential that was shown.

    ``admin`` is what the account was when it signed in: ``hub.access`` asks the database again where it matters.
    ``granted`` holds the scopes of an access token of the token server, which opens nothing else; None: not limited
    to named repositories. ``build`` is set where a Trusted Build shows its token.
    """

    user_id: int | None = None
    admin: bool = False
    rights: frozenset[Right] = EVERY_RIGHT
    granted: tuple[Scope, ...] | None = None
    personal_token_id: int | None = None
    operating: bool = False
    build: BuildLease | None = None

    @classmethod
    def operator(cls) -> "HubActor":
        """Return who types ``hythe admin``: may do everything."""
        return cls("operator", admin=True, operating=True)

    @property
    def signed_in(self) -> bool:
        """Whether this is an account."""
        return self.user_id is not None

    def credential_allows(self, repository: str, action: Action) -> bool:
        """Whether the credential, whoever holds it, reaches this far."""
        if RIGHTS[action] not in self.rights:
            return False
        return self.granted is None or any(
            action.value in scope.actions
            for scope in self.granted
            if scope.type == "repository" and scope.name == repository
        )


ANONYMOUS = HubActor()
"""Somebody who did not sign in."""
