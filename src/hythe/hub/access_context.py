"""Everything an access decision needs to know about a user and a repository."""

import msgspec

from hythe.hub.namespaces import NamespaceKind
from hythe.hub.user import Visibility
from hythe.registry.access import UNLIMITED, Limits


class AccessContext(msgspec.Struct, frozen=True):
    """A namespace, a repository and a user; the ids are None where one does not exist or no user is signed in.

    ``built``: the repository has Trusted Builds, so only its builds may push to it. ``limits``: of the namespace.
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
