"""The user who makes a request, and the limits of their credential."""

from enum import Enum

import msgspec

from hythe.oci.scope import Scope
from hythe.registry.access import Action, Actor


class Right(Enum):
    """What a credential may be used for. Personal access tokens have some of these rights; passwords and sessions have
    all.
    """

    READ = "repo:read"
    WRITE = "repo:write"
    DELETE = "repo:delete"
    ACCOUNT = "account"


EVERY_RIGHT = frozenset(Right)

RIGHTS = {Action.PULL: Right.READ, Action.PUSH: Right.WRITE, Action.DELETE: Right.DELETE}
"""The right of a credential that each action on a repository requires."""


class BuildLease(msgspec.Struct, frozen=True):
    """The Trusted Build and the attempt that hold a token. The attempt may have ended."""

    build_id: int
    fence: int
    key_digest: str


class HubActor(Actor, frozen=True):
    """A user, an anonymous client (``user_id`` None) or the operator, with the limits of their credential.

    ``admin`` is the account's status at sign-in; ``hub.access`` queries the database where it matters. ``granted`` has
    the scopes of a token of the token server, which allows nothing else; None means no limit to certain repositories.
    ``build`` is set if the credential belongs to a Trusted Build. ``personal_token_digest`` (empty: none) and
    ``credential_generation`` say what the credential depends on: an access token ends with its personal token, and when
    the account's generation grows.
    """

    user_id: int | None = None
    admin: bool = False
    rights: frozenset[Right] = EVERY_RIGHT
    granted: tuple[Scope, ...] | None = None
    personal_token_id: int | None = None
    personal_token_digest: str = ""
    credential_generation: int = 0
    operating: bool = False
    build: BuildLease | None = None

    @classmethod
    def operator(cls) -> "HubActor":
        """Return the actor behind ``hythe admin``, who may do everything."""
        return cls("operator", admin=True, operating=True)

    @property
    def signed_in(self) -> bool:
        """Return whether the actor is a user."""
        return self.user_id is not None

    def credential_allows(self, repository: str, action: Action) -> bool:
        """Return whether the credential allows this action, regardless of its holder."""
        if RIGHTS[action] not in self.rights:
            return False
        return self.granted is None or any(
            action.value in scope.actions
            for scope in self.granted
            if scope.type == "repository" and scope.name == repository
        )


ANONYMOUS = HubActor()
"""A client that is not signed in."""
