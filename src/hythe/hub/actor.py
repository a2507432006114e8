"""The user who makes a request, and the limits of their credential."""

from enum import Enum

import msgspec

from hythe.hub.organizations.name_patterns import any_matches
from hythe.oci.scope import Scope
from hythe.registry.access import Action, Actor


class Right(Enum):
    """What a credential may be used for. Personal access tokens have some of these rights; passwords and sessions have
    all.
    """

    READ = "repo:read"
    WRITE = "repo:write"
    DELETE = "repo:delete"
    BUILDS = "builds"
    ADMIN = "repo:admin"
    ACCOUNT = "account"


EVERY_RIGHT = frozenset(Right)

SECOND_SITE = "second site"
"""The name of the actor that follows this hub, which no account can have."""

ROBOT_MARK = "+"
"""Separates the namespace and the name of a robot."""

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
    the scopes of a token of the token server, which allows nothing else; None means no such limit. ``repositories`` has
    the names or patterns that a personal token or robot is limited to; None: all that its account may use.
    ``build`` is set if the credential belongs to a Trusted Build. ``personal_token_digest`` (empty: none) and
    ``credential_generation`` say what the credential depends on: an access token ends with its personal token, and when
    the account's generation grows. ``session_id`` is the public id of a web session, else empty, and
    ``password_given`` says that the password came with the request. ``address`` is the client's, and ``credential``
    describes the credential for the audit log: ``session``, ``password``, ``personal token ci``. ``renamed``: the
    former and the present name of the repository in the request, if they differ. ``second_site``: a second site, which
    may read everything.
    """

    user_id: int | None = None
    admin: bool = False
    rights: frozenset[Right] = EVERY_RIGHT
    repositories: tuple[str, ...] | None = None
    granted: tuple[Scope, ...] | None = None
    personal_token_id: int | None = None
    personal_token_digest: str = ""
    credential_generation: int = 0
    session_id: str = ""
    password_given: bool = False
    operating: bool = False
    second_site: bool = False
    build: BuildLease | None = None
    address: str = ""
    credential: str = ""
    renamed: tuple[str, str] | None = None

    @classmethod
    def operator(cls) -> "HubActor":
        """Return the actor behind ``hythe admin``, who may do everything."""
        return cls("operator", admin=True, operating=True, credential="command line")

    @property
    def signed_in(self) -> bool:
        """Return whether the actor is a user."""
        return self.user_id is not None

    @property
    def account(self) -> str:
        """The name of the account; ``acme`` for the robot ``acme+ci``."""
        return self.name.partition(ROBOT_MARK)[0]

    @property
    def robot(self) -> bool:
        """Whether the actor is a robot or a CI job, which belongs to a namespace and not to a person."""
        return ROBOT_MARK in self.name

    def narrowed(self, rights: frozenset[Right], repositories: tuple[str, ...] | None) -> "HubActor":
        """Return the actor with the present limits of the token that an access token came from."""
        return msgspec.structs.replace(self, rights=self.rights & rights, repositories=repositories)

    def following(self, former: str, present: str) -> "HubActor":
        """Return the actor who asked for a repository by its former name."""
        return msgspec.structs.replace(self, renamed=(former, present))

    def _names(self, repository: str, right: Right) -> tuple[str, ...]:
        """Return the names of a repository that limits of the credential may have: pulls continue after a rename."""
        if self.renamed is not None and repository == self.renamed[1] and (right is Right.READ or self.build):
            return self.renamed
        return (repository,)

    def credential_has(self, right: Right, repository: str) -> bool:
        """Return whether the credential has a right on a repository, regardless of its holder and of ``granted``."""
        if right not in self.rights:
            return False
        patterns = self.repositories
        return patterns is None or any(any_matches(patterns, name) for name in self._names(repository, right))

    def credential_allows(self, repository: str, action: Action) -> bool:
        """Return whether the credential allows this action, regardless of its holder."""
        right = RIGHTS[action]
        if not self.credential_has(right, repository):
            return False
        if self.granted is None:
            return True
        names = self._names(repository, right)
        return any(
            action.value in scope.actions
            for scope in self.granted
            if scope.type == "repository" and scope.name in names
        )

    def credential_covers(self, repository: str, right: Right) -> bool:
        """Return whether the credential allows what needs this right, regardless of its holder.

        A token of the token server covers a right if it was granted the action that needs it: pull, push or delete.
        """
        if self.granted is None:
            return self.credential_has(right, repository)
        return any(self.credential_allows(repository, action) for action, needed in RIGHTS.items() if needed is right)


ANONYMOUS = HubActor()
"""A client that is not signed in."""
