"""The port by which the registry tells what happens.

A listener is called inside the transaction that makes the thing true: what it writes is committed together with
it or not at all, and when it raises, the thing does not happen.
"""

from datetime import datetime
from typing import Protocol

import msgspec

from hythe.database import Session
from hythe.oci.digest import Digest
from hythe.registry.access import Actor


class Repository(msgspec.Struct, frozen=True):
    """A repository as the registry knows it; ``name`` is canonical."""

    id: int
    name: str
    created_at: datetime


class TagMove(msgspec.Struct, frozen=True):
    """A tag that was set (``previous`` None), moved, or taken away (``digest`` None)."""

    tag: str
    digest: Digest | None
    previous: Digest | None
    at: datetime


class Listener(Protocol):
    """What the rest of the house wants to know of. ``NoListener`` wants nothing."""

    async def repository_created(self, session: Session, repository: Repository, actor: Actor) -> None:
        """A repository came to be, by its first push or by hand. May raise WireError DENIED (a plan's limit)."""

    async def repository_deleted(self, session: Session, repository: Repository, actor: Actor) -> None:
        """A repository is about to go with everything in it."""

    async def manifest_pushed(
        self, session: Session, repository: Repository, digest: Digest, media_type: str, size: int, actor: Actor
    ) -> None:
        """A manifest was stored; ``size`` is that of its bytes."""

    async def tags_moved(
        self, session: Session, repository: Repository, moves: tuple[TagMove, ...], actor: Actor
    ) -> None:
        """Tags now point elsewhere."""

    async def manifest_pulled(self, repository: Repository, tag: str | None, digest: Digest, actor: Actor) -> None:
        """A manifest was read by GET. Called after the answer, outside any transaction; must not raise."""


class NoListener:
    """Listens to nothing."""

    async def repository_created(self, session: Session, repository: Repository, actor: Actor) -> None:
        """See Listener."""

    async def repository_deleted(self, session: Session, repository: Repository, actor: Actor) -> None:
        """See Listener."""

    async def manifest_pushed(
        self, session: Session, repository: Repository, digest: Digest, media_type: str, size: int, actor: Actor
    ) -> None:
        """See Listener."""

    async def tags_moved(
        self, session: Session, repository: Repository, moves: tuple[TagMove, ...], actor: Actor
    ) -> None:
        """See Listener."""

    async def manifest_pulled(self, repository: Repository, tag: str | None, digest: Digest, actor: Actor) -> None:
        """See Listener."""
