"""Access for a private registry without users: every client may do everything."""

from collections.abc import Collection

from hythe.oci.challenge import Challenge
from hythe.registry.access import EVERYTHING_LISTED, UNLIMITED, Action, Actor, Limits, Listing

ANONYMOUS = Actor()


class AnonymousAccess:
    """See Access."""

    async def authenticate(self, authorization: str | None, address: str = "") -> Actor:
        """See Access.authenticate. Ignores credentials."""
        return ANONYMOUS

    def canonical(self, repository: str) -> str:
        """See Access.canonical. Every name is canonical."""
        return repository

    async def enter(self, actor: Actor) -> None:
        """See Access.enter."""

    async def require(self, actor: Actor, repository: str, action: Action) -> Limits:
        """See Access.require."""
        return UNLIMITED

    async def visible(self, actor: Actor, repositories: Collection[str]) -> frozenset[str]:
        """See Access.visible."""
        return frozenset(repositories)

    async def listing(self, actor: Actor, after: str, limit: int) -> Listing:
        """See Access.listing."""
        return EVERYTHING_LISTED

    def challenge(self, repository: str | None, actions: Collection[Action], error: str = "") -> Challenge | None:
        """See Access.challenge."""
        return None
