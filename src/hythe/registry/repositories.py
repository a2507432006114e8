"""Repositories: created explicitly or by the first push, deleted with all their content."""

from collections.abc import Awaitable, Callable, Sequence

from hythe.database import Database, Session
from hythe.oci.errors import ErrorCode, WireError
from hythe.registry.access import Access, Action, Actor
from hythe.registry.clock import Clock
from hythe.registry.deletions import Deletions
from hythe.registry.events import RegistryListener, RepositoryRef
from hythe.registry.sql import deletions as deletion_store
from hythe.registry.sql import repositories as store


class Repositories:
    """The repositories of a registry. Names are canonical."""

    def __init__(
        self,
        database: Database,
        access: Access,
        listeners: Sequence[RegistryListener],
        deletions: Deletions,
        clock: Clock,
    ) -> None:
        self._database = database
        self._access = access
        self.listeners = listeners
        self._deletions = deletions
        self._clock = clock

    async def get(self, actor: Actor, name: str) -> RepositoryRef:
        """Return the repository. Raises WireError NAME_UNKNOWN and the errors of Access."""
        await self._access.require(actor, name, Action.PULL)
        async with self._database.reading() as session:
            repository = await store.find(session, name)
        if repository is None:
            raise unknown_name(name)
        return repository

    async def create(self, session: Session, name: str, actor: Actor) -> RepositoryRef | None:
        """Add an empty repository in the caller's transaction; return None if it already exists.

        The caller has checked access. Listeners can raise WireError DENIED.
        """
        if not await store.create(session, name, self._clock()):
            return None
        repository = await store.lock(session, name, exclusive=True)
        if repository is None:
            raise unknown_name(name)
        for listener in self.listeners:
            await listener.repository_created(session, repository, actor)
        return repository

    async def get_or_create(self, session: Session, name: str, actor: Actor, *, exclusive: bool) -> RepositoryRef:
        """Return the repository, created if necessary and locked (``exclusive``: exclusively)."""
        while True:
            repository = await store.lock(session, name, exclusive=exclusive) or await self.create(session, name, actor)
            if repository is not None:
                return repository

    async def lock(self, session: Session, name: str) -> RepositoryRef:
        """Return the repository, locked for a change. Raises WireError NAME_UNKNOWN."""
        repository = await store.lock(session, name, exclusive=True)
        if repository is None:
            raise unknown_name(name)
        return repository

    async def delete(
        self, actor: Actor, name: str, check: Callable[[Session, RepositoryRef], Awaitable[None]] | None = None
    ) -> None:
        """Delete the repository with its tags, manifests and blobs. Raises WireError NAME_UNKNOWN.

        From then on it exists for no one, and its name is free; ``Deletions`` deletes its content. Blobs that no other
        repository contains are freed after the grace period. ``check`` is called in the transaction, with the
        repository locked; an error that it raises prevents the deletion.
        """
        await self._access.require(actor, name, Action.DELETE)
        async with self._database.writing() as session:
            repository = await self.lock(session, name)
            if check is not None:
                await check(session, repository)
            for listener in self.listeners:
                await listener.repository_deleted(session, repository, actor)
            # Last: from the usage of the namespace on, nothing else may be locked.
            await deletion_store.mark(session, repository.id, repository.name, self._clock())
        await self._deletions.begin(repository)


def unknown_name(name: str) -> WireError:
    """Return the error for a missing repository."""
    return WireError(ErrorCode.NAME_UNKNOWN, detail={"name": name})
