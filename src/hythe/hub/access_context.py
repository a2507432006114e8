"""Everything an access decision needs to know about a user, their credential and a repository."""

from datetime import datetime

import msgspec

from hythe.hub.actor import HubActor, Right
from hythe.hub.errors import AccountBlocked, HubError, SignInNeeded
from hythe.hub.namespaces import NamespaceKind
from hythe.hub.user import Visibility
from hythe.registry.access import UNLIMITED, Limits


class CredentialState(msgspec.Struct, frozen=True):
    """What the access tokens of an account depend on now.

    ``rights`` and ``expires_at`` are those of the personal token that an access token came from; ``rights`` None: it
    was revoked, or there is none.
    """

    name: str
    blocked: bool
    generation: int
    rights: frozenset[Right] | None = None
    expires_at: datetime | None = None


class AccessContext(msgspec.Struct, frozen=True):
    """A namespace, a repository and a user; the ids are None where one does not exist or no user is signed in.

    ``built``: the repository has Trusted Builds, so only its builds may push to it. ``limits``: of the namespace.
    ``owner_blocked``: the account of the namespace is blocked. ``credential``: None if no user is signed in.
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


def credential_problem(actor: HubActor, context: AccessContext, now: datetime) -> HubError | None:
    """Return why an account's access token no longer works; None if it does."""
    state = context.credential
    # The name, because SQLite gives the id of the last deleted account to the next one.
    if state is None or state.name != actor.name:
        return SignInNeeded("the account of this token was deleted")
    if state.blocked:
        return AccountBlocked(state.name)
    if state.generation != actor.credential_generation:
        return SignInNeeded("this token ended when the account's password changed", "log in again")
    if not actor.personal_token_digest:
        return None
    if state.rights is None or (state.expires_at is not None and state.expires_at <= now):
        return SignInNeeded("the personal token behind this token was revoked or has expired", "log in again")
    return None
