"""The port by which the registry asks who is there and what they may do.

The hub answers from accounts and tokens, the private registry from an htpasswd file or not at all.
"""

from collections.abc import Collection
from enum import Enum
from typing import Protocol

import msgspec

from hythe.oci.challenge import Challenge


class Action(Enum):
    """What may be done with a repository; the values are the words of the token protocol."""

    PULL = "pull"
    PUSH = "push"
    DELETE = "delete"


class Actor(msgspec.Struct, frozen=True):
    """Somebody who asks for something; an implementation of Access may return more than this.

    ``name`` is written into histories; it is empty for somebody who did not sign in.
    """

    name: str = ""


class Access(Protocol):
    """Who may do what. Every refusal is a WireError that is ready to be sent."""

    async def authenticate(self, authorization: str | None, address: str = "") -> Actor:
        """Return who sent this Authorization header (None: no header); wrong guesses are counted by ``address``.

        Raises WireError UNAUTHORIZED when the credentials are wrong or worn out.
        """

    def canonical(self, repository: str) -> str:
        """Return the one spelling under which a repository is kept (``centos`` is ``library/centos`` in the hub)."""

    async def enter(self, actor: Actor) -> None:
        """Return when ``actor`` may ask the registry for anything at all (``GET /v2/``, which a login tries).

        Raises WireError UNAUTHORIZED to somebody who must show credentials or a token first, be it an anonymous one.
        """

    async def require(self, actor: Actor, repository: str, action: Action) -> None:
        """Return when ``actor`` may do this with the repository of this canonical name, whether it exists or not.

        Raises WireError: UNAUTHORIZED to somebody who may try again with (other) credentials, DENIED with the
        reason, or what the protocol answers for a repository that is not there, where its being there is a secret.
        """

    async def visible(self, actor: Actor, repositories: Collection[str]) -> frozenset[str]:
        """Return those of the repositories that ``actor`` may pull (catalog, mount without ``from``)."""

    def challenge(self, repository: str | None, actions: Collection[Action], error: str = "") -> Challenge | None:
        """Return what a 401 offers (None: nothing to offer), for a repository or for the registry as a whole."""
