"""Access that makes some or all repositories read-only, and delegates other decisions."""

from collections.abc import Callable, Collection
from typing import TypeAlias

from hythe.oci.challenge import Challenge
from hythe.oci.errors import ErrorCode, WireError
from hythe.registry.access import Access, Action, Actor, Limits, Listing

Refusal: TypeAlias = Callable[[str], str]
"""Explains why no one may change the repository with this name; returns nothing if it may be changed."""


def refuse_all(_repository: str) -> str:
    """Refuse all changes (a Refusal)."""
    return "this registry is read-only: push to another one"


class ReadOnlyAccess:
    """See Access."""

    def __init__(self, access: Access, refusal: Refusal = refuse_all) -> None:
        """``access`` decides what ``refusal`` does not refuse."""
        self._access = access
        self._refusal = refusal

    async def authenticate(self, authorization: str | None, address: str = "") -> Actor:
        """See Access.authenticate."""
        return await self._access.authenticate(authorization, address)

    def canonical(self, repository: str) -> str:
        """See Access.canonical."""
        return self._access.canonical(repository)

    async def enter(self, actor: Actor) -> None:
        """See Access.enter."""
        await self._access.enter(actor)

    async def require(self, actor: Actor, repository: str, action: Action) -> Limits:
        """See Access.require. Raises WireError UNSUPPORTED for refused changes; never refuses a pull."""
        if action is not Action.PULL and (reason := self._refusal(repository)):
            raise WireError(ErrorCode.UNSUPPORTED, reason)
        return await self._access.require(actor, repository, action)

    async def visible(self, actor: Actor, repositories: Collection[str]) -> frozenset[str]:
        """See Access.visible."""
        return await self._access.visible(actor, repositories)

    async def listing(self, actor: Actor, after: str, limit: int) -> Listing:
        """See Access.listing."""
        return await self._access.listing(actor, after, limit)

    def challenge(self, repository: str | None, actions: Collection[Action], error: str = "") -> Challenge | None:
        """See Access.challenge."""
        return self._access.challenge(repository, actions, error)
