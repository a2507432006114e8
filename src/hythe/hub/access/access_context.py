"""Everything an access decision needs to know about a user, their credential and a repository."""

from datetime import datetime

import msgspec

from hythe.hub.accounts.namespaces import NamespaceKind
from hythe.hub.accounts.user import Visibility
from hythe.hub.actor import HubActor, Right
from hythe.hub.errors import AccountBlocked, HubError, SignInNeeded
from hythe.hub.roles import OrganizationRole, RepositoryRole
from hythe.registry.access import UNLIMITED, Limits


class CredentialState(msgspec.Struct, frozen=True):
    """What the access tokens of an account depend on now.

    ``rights``, ``repositories`` and ``expires_at`` are those of the personal token that an access token came from, with
    the secret that it came from; ``rights`` None: it
    was revoked, or there is none.
    """

    name: str
    blocked: bool
    generation: int
    rights: frozenset[Right] | None = None
    expires_at: datetime | None = None
    repositories: tuple[str, ...] | None = None


class Reader(msgspec.Struct, frozen=True):
    """Whose repositories lists and search contain, besides public ones; ``user_id`` None: no account's.

    ``nothing``: not even public ones, because the hub shows nothing without signing in.
    """

    user_id: int | None = None
    nothing: bool = False


class AccessContext(msgspec.Struct, frozen=True):
    """A namespace, a repository and a user; the ids are None where one does not exist or no user is signed in.

    ``built``: the repository has Trusted Builds, so only its builds may push to it. ``limits``: of the namespace.
    ``owner_blocked``: the account of the namespace is blocked. ``credential``: None if no user is signed in.

    ``member`` is the user's role in the organization that has the namespace, ``member_role`` what that gives on all of
    its repositories, and ``granted`` what teams and collaboration give on this one (for one that does not exist: what
    patterns of teams would give). ``members_create``: members of the organization may create repositories.
    ``needs_second_factor``: the organization requires a second factor, which the user does not have, so they have no
    role there.

    ``taken_down``: why an administrator took the repository down; None: it is not. ``opened_until``: the user is an
    administrator and may read the repository until then.
    """

    namespace: NamespaceKind | None
    namespace_id: int | None
    owner_id: int | None
    repository_id: int | None
    visibility: Visibility | None
    user_id: int | None
    admin: bool
    built: bool = False
    limits: Limits = UNLIMITED
    owner_blocked: bool = False
    credential: CredentialState | None = None
    curator: bool = False
    member: OrganizationRole | None = None
    member_role: RepositoryRole | None = None
    granted: RepositoryRole | None = None
    members_create: bool = False
    needs_second_factor: bool = False
    email_confirmed: bool = False
    taken_down: str | None = None
    opened_until: datetime | None = None

    @property
    def namespace_role(self) -> OrganizationRole | None:
        """The user's role in the namespace; each user is the owner of their own."""
        if self.user_id is None:
            return None
        match self.namespace:
            case NamespaceKind.USER | NamespaceKind.ORGANIZATION if self.owner_id == self.user_id:
                return OrganizationRole.OWNER  # of an organization, this is a robot
            case NamespaceKind.ORGANIZATION:
                return self.member
            case NamespaceKind.CURATED:
                return OrganizationRole.OWNER if self.admin or self.curator else None
        return None

    @property
    def withheld(self) -> bool:
        """Whether the repository is taken down and the user owns it: they see it with the reason, no more."""
        return self.taken_down is not None and self.namespace_role is OrganizationRole.OWNER

    @property
    def may_create(self) -> bool:
        """Whether the user may create the repository, which does not exist, or others in the namespace."""
        role = self.namespace_role
        if role is OrganizationRole.OWNER or (role is not None and self.members_create):
            return True
        # By a pattern of a team.
        return self.granted is not None and self.granted >= RepositoryRole.WRITE and self.repository_id is None

    @property
    def repository_role(self) -> RepositoryRole | None:
        """The user's role on the repository, regardless of its visibility; who may create it has it to create it."""
        if self.namespace_role is OrganizationRole.OWNER:
            return RepositoryRole.ADMIN
        if self.user_id is None:
            return None
        if self.repository_id is None:
            return RepositoryRole.ADMIN if self.may_create else None
        opened = RepositoryRole.READ if self.opened_until is not None else None
        if self.taken_down is not None:
            return opened
        roles = [self.granted, self.member_role if self.member else None, opened]
        return max((role for role in roles if role is not None), default=None)


def credential_problem(actor: HubActor, context: AccessContext, now: datetime) -> HubError | None:
    """Return why an account's access token no longer works; None if it does."""
    state = context.credential
    # The name, because SQLite gives the id of the last deleted account to the next one.
    if state is None or state.name != actor.account:
        return SignInNeeded("the account of this token was renamed or deleted", "log in again")
    if state.blocked:
        return AccountBlocked(state.name)
    if state.generation != actor.credential_generation:
        return SignInNeeded("this token ended when the account's password changed", "log in again")
    if not actor.personal_token_digest:
        return None
    if state.rights is None or (state.expires_at is not None and state.expires_at <= now):
        return SignInNeeded("the personal token behind this token was revoked or has expired", "log in again")
    return None
