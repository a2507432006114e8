"""How somebody stands to a repository at this moment: everything that a decision about access is made of."""

import msgspec

from hythe.hub.namespaces import NamespaceKind
from hythe.hub.user import Visibility


class AccessContext(msgspec.Struct, frozen=True):
    """The namespace (None: there is none), the repository (None: there is none) and the account (None: nobody).

    ``built``: the repository has Trusted Builds, which alone push to it.
    """

    namespace: NamespaceKind | None
    namespace_id: int | None
    owner_id: int | None
    repository_id: int | None
    visibility: Visibility | None
    user_id: int | None
    admin: bool
    built: bool = False
