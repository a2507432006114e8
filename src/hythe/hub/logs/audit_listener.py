"""Records the changes of the registry in the audit log: repositories, tags and deleted content."""

from collections.abc import Callable
from datetime import datetime

from hythe.database import Session
from hythe.hub.access.actions import HubAction
from hythe.hub.actor import HubActor
from hythe.hub.logs import audit
from hythe.oci.digest import Digest
from hythe.registry.access import Actor
from hythe.registry.events import RegistryListener, RepositoryRef, TagMove


class AuditListener(RegistryListener):
    """Adds an entry for each change that an account, a build or the operator makes; mirrors make none."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock

    async def repository_created(self, session: Session, repository: RepositoryRef, actor: Actor) -> None:
        """Record that a push created a repository."""
        await self._record(session, actor, HubAction.CREATE_REPOSITORY, repository.name)

    async def repository_deleted(self, session: Session, repository: RepositoryRef, actor: Actor) -> None:
        """Record the deletion."""
        await self._record(session, actor, HubAction.DELETE_REPOSITORY, repository.name)

    async def tags_moved(
        self, session: Session, repository: RepositoryRef, moves: tuple[TagMove, ...], actor: Actor
    ) -> None:
        """Record each tag that points to another image now, or to none."""
        for move in moves:
            detail = {"digest": str(move.digest or ""), "previous": str(move.previous or "")}
            action = HubAction.MOVE_TAG if move.digest else HubAction.DELETE_TAG
            await self._record(session, actor, action, repository.name, f":{move.tag}", **detail)

    async def content_deleted(self, session: Session, repository: RepositoryRef, digest: Digest, actor: Actor) -> None:
        """Record the deletion of a manifest or a blob."""
        await self._record(session, actor, HubAction.DELETE_CONTENT, repository.name, f"@{digest}")

    async def immutable_tags_changed(
        self, session: Session, repository: RepositoryRef, patterns: tuple[str, ...], actor: Actor
    ) -> None:
        """Record the new patterns."""
        await self._record(session, actor, HubAction.PROTECT_TAGS, repository.name, patterns=" ".join(patterns))

    async def _record(
        self, session: Session, actor: Actor, action: HubAction, repository: str, part: str = "", **detail: str
    ) -> None:
        if isinstance(actor, HubActor):
            named = {name: value for name, value in detail.items() if value}
            await audit.record_repository(session, actor, action, repository, part, at=self._clock(), **named)
