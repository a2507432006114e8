"""The port through which the registry authenticates clients and asks what they may do.

The hub implements it with accounts and tokens, the private registry with an htpasswd file or without users.
"""

from collections.abc import Collection
from enum import Enum
from typing import Protocol

import msgspec

from hythe.oci.challenge import Challenge
from hythe.oci.errors import ErrorCode, WireError


class Action(Enum):
    """Actions on a repository; the values are those of the token protocol."""

    PULL = "pull"
    PUSH = "push"
    DELETE = "delete"


class Actor(msgspec.Struct, frozen=True):
    """The author of a request; an implementation of Access may return a subclass.

    ``name`` appears in histories; it is empty for anonymous clients.
    """

    name: str = ""


class Limits(msgspec.Struct, frozen=True):
    """The limits of a namespace: stored bytes and upload sessions; None: unlimited. False if it has no limits."""

    namespace: str = ""
    storage: int | None = None
    uploads: int | None = None

    def __bool__(self) -> bool:
        return self.storage is not None or self.uploads is not None


UNLIMITED = Limits()


class Listing(msgspec.Struct, frozen=True):
    """Which repositories the catalog lists for an actor: those of ``audiences``, None: all; and those of ``names``."""

    audiences: tuple[str, ...] | None = None
    names: tuple[str, ...] = ()


EVERYTHING_LISTED = Listing()


class RepositoryRenamed(WireError):
    """A repository was asked for by a former name: repeat the request with this name and as this actor."""

    def __init__(self, repository: str, actor: Actor) -> None:
        self.repository = repository
        self.actor = actor
        super().__init__(ErrorCode.NAME_UNKNOWN, detail={"name": repository})


class Access(Protocol):
    """Decides who may do what. Every refusal is a WireError that is ready to be sent."""

    async def authenticate(self, authorization: str | None, address: str = "") -> Actor:
        """Return the author of a request by its Authorization header (None: no header); count failures by ``address``.

        Raises WireError UNAUTHORIZED if the credentials are wrong or expired.
        """

    def canonical(self, repository: str) -> str:
        """Return the canonical spelling of a repository's name (``library/centos`` for ``centos`` in the hub)."""

    async def enter(self, actor: Actor) -> None:
        """Check that ``actor`` may use the registry at all (``GET /v2/``, which a login requests).

        Raises WireError UNAUTHORIZED if the client must present credentials or a token first, even an anonymous token.
        """

    async def require(self, actor: Actor, repository: str, action: Action) -> Limits:
        """Check that ``actor`` may do this with the repository of this canonical name, whether or not it exists.

        Returns the limits of its namespace.
        Raises WireError: UNAUTHORIZED if other credentials may help, DENIED with the reason, or the error for a missing
        repository if its existence is a secret. Raises RepositoryRenamed for a former name.
        """

    async def visible(self, actor: Actor, repositories: Collection[str]) -> frozenset[str]:
        """Return which of the repositories ``actor`` may pull (for mounts without ``from``)."""

    async def listing(self, actor: Actor, after: str, limit: int) -> Listing:
        """Return which repositories the catalog lists for ``actor``: those that it may pull.

        Of repositories that it lists by name, these are the next ``limit`` after ``after``.
        """

    def challenge(self, repository: str | None, actions: Collection[Action], error: str = "") -> Challenge | None:
        """Return the challenge of a 401 response for a repository or the whole registry; None if there is none."""
