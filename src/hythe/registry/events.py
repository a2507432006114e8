"""Events of the registry. ``server/hub.py`` wires the list of listeners; the registry calls them in that order.

A listener is called in the transaction of the event: what it writes is committed with the event or not at all, and if
it raises, the event does not happen.
"""

from datetime import datetime

import msgspec

from hythe.database import Session
from hythe.oci.digest import Digest
from hythe.registry.access import Actor


class RepositoryRef(msgspec.Struct, frozen=True):
    """A repository as the registry knows it; ``name`` is canonical."""

    id: int
    name: str
    created_at: datetime


class TagMove(msgspec.Struct, frozen=True):
    """A tag that was created (``previous`` None), moved, or deleted (``digest`` None)."""

    tag: str
    digest: Digest | None
    previous: Digest | None
    at: datetime


class PulledManifest(msgspec.Struct, frozen=True):
    """A manifest that was sent, by ``tag`` or by its digest (None).

    ``client`` tells the pulls of one client from those of others: it is the same for all requests of one pull.
    """

    tag: str | None
    digest: Digest
    is_index: bool
    client: int


class RegistryListener:
    """A listener of the registry's events. Override the methods you need; here they do nothing."""

    async def repository_created(self, session: Session, repository: RepositoryRef, actor: Actor) -> None:
        """A repository was created, explicitly or by its first push. Can raise WireError DENIED (a plan's limit)."""

    async def repository_deleted(self, session: Session, repository: RepositoryRef, actor: Actor) -> None:
        """A repository is being deleted, and its content afterwards, in steps. Stop what belongs to it."""

    async def delete_some(self, session: Session, repository_id: int) -> bool:
        """Delete some rows of the listener's own that belong to a deleted repository; return whether there were any.

        Called in one short transaction after the other, until it returns False.
        """
        return False

    async def manifest_pushed(
        self, session: Session, repository: RepositoryRef, digest: Digest, media_type: str, size: int, actor: Actor
    ) -> None:
        """A manifest of ``size`` bytes was pushed."""

    async def blob_pushed(self, session: Session, repository: RepositoryRef, digest: Digest, actor: Actor) -> None:
        """A blob was uploaded, or mounted from another repository. Can raise WireError DENIED."""

    async def tags_moved(
        self, session: Session, repository: RepositoryRef, moves: tuple[TagMove, ...], actor: Actor
    ) -> None:
        """Tags were set, moved or deleted."""

    async def content_deleted(self, session: Session, repository: RepositoryRef, digest: Digest, actor: Actor) -> None:
        """An actor deleted a manifest or a blob from the repository."""

    async def immutable_tags_changed(
        self, session: Session, repository: RepositoryRef, patterns: tuple[str, ...], actor: Actor
    ) -> None:
        """The patterns of immutable tags were replaced."""

    async def manifest_pulled(self, repository: RepositoryRef, pulled: PulledManifest, actor: Actor) -> None:
        """A manifest was pulled. Called after the response, outside any transaction; must not raise."""
