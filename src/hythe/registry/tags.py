"""Tags: set, list, history, immutability, deletion."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from fnmatch import fnmatchcase

import msgspec

from hythe.database import Database, Session
from hythe.oci.digest import Digest
from hythe.oci.errors import ErrorCode, WireError
from hythe.registry.access import Access, Action, Actor
from hythe.registry.clock import Clock
from hythe.registry.events import RegistryListener, RepositoryRef, TagMove
from hythe.registry.garbage_collection import mark_unreferenced
from hythe.registry.policy import Policy
from hythe.registry.repositories import Repositories, unknown_name
from hythe.registry.sql import manifests as manifest_store
from hythe.registry.sql import repositories as repository_store
from hythe.registry.sql import tags as store

MAX_PAGE_SIZE = 10_000
"""Maximum number of tags in one response."""


NAMES_AT_ONCE = 500
"""Tags to read in one statement when all tags of a manifest are checked."""

CHECK_TIMEOUT = 30.0
"""Maximum seconds of such a statement."""


class NamePage(msgspec.Struct, frozen=True):
    """A page of sorted names; ``more``: others follow."""

    names: tuple[str, ...]
    more: bool


class TagHistoryEntry(msgspec.Struct, frozen=True):
    """A line of a tag's history; ``number`` increases with time."""

    number: int
    tag: str
    digest: str | None
    previous: str | None
    at: datetime
    by: str


class Tags:
    """The tags of a registry's repositories."""

    def __init__(
        self,
        database: Database,
        access: Access,
        listeners: Sequence[RegistryListener],
        repositories: Repositories,
        policy: Policy,
        clock: Clock,
    ) -> None:
        self._database = database
        self._access = access
        self._listeners = listeners
        self._repositories = repositories
        self._policy = policy
        self._clock = clock

    async def names(self, actor: Actor, repository: str, after: str = "", limit: int | None = None) -> NamePage:
        """Return the tags after ``after``, sorted by their bytes (specification, "Listing Tags")."""
        await self._access.require(actor, repository, Action.PULL)
        wanted = min(limit, MAX_PAGE_SIZE) if limit is not None else MAX_PAGE_SIZE
        async with self._database.reading() as session:
            found = await repository_store.find(session, repository)
            if found is None:
                raise unknown_name(repository)
            names = await store.names_after(session, found.id, after, wanted + 1)
        return NamePage(names[:wanted], 0 < wanted < len(names))

    async def delete(self, actor: Actor, repository: str, tag: str) -> None:
        """Delete a tag but not its manifest (specification, "Deleting Tags"). Raises MANIFEST_UNKNOWN.

        An unreferenced manifest is freed after the grace period.
        """
        await self._access.require(actor, repository, Action.DELETE)
        async with self._database.writing() as session:
            found = await repository_store.lock(session, repository, exclusive=True)
            digest = await store.target(session, found.id, tag) if found else None
            if found is None or digest is None:
                raise unknown_tag(tag)
            await self.require_mutable(session, found, (tag,))
            await store.remove(session, found.id, tag)
            move = TagMove(tag, None, Digest.parse(digest), self._clock())
            await self.record(session, found, (move,), actor)
            await mark_unreferenced(session, found.id, digest, move.at + self._policy.grace)

    async def history(
        self, actor: Actor, repository: str, tag: str, before: int | None = None, limit: int = 100
    ) -> tuple[TagHistoryEntry, ...]:
        """Return a tag's moves before number ``before``, newest first."""
        await self._access.require(actor, repository, Action.PULL)
        async with self._database.reading() as session:
            rows = await store.history(session, repository, tag, before or store.MAX_MOVE_NUMBER, limit)
        return tuple(TagHistoryEntry(r.id, r.tag, r.digest, r.previous, r.moved_at, r.moved_by) for r in rows)

    async def restore(self, actor: Actor, repository: str, tag: str, digest: Digest) -> None:
        """Point a tag to a digest of its history. Raises MANIFEST_UNKNOWN if it never had it, or it was deleted."""
        await self._access.require(actor, repository, Action.PUSH)
        async with self._database.writing() as session:
            found = await self._repositories.lock(session, repository)
            if not await store.was_target(session, found.id, tag, digest):
                raise WireError(ErrorCode.MANIFEST_UNKNOWN, f"{tag} never had the digest {digest}: see its history")
            if not await manifest_store.exists(session, found.id, str(digest)):
                raise WireError(ErrorCode.MANIFEST_UNKNOWN, f"{digest} was deleted: push it again")
            await manifest_store.mark(session, found.id, (str(digest),), None)
            await self.move(session, found, (tag,), digest, actor)

    async def immutable_patterns(self, actor: Actor, repository: str) -> tuple[str, ...]:
        """Return the patterns (``*``, ``?``, ``[..]``) of immutable tags, which can be set only once."""
        await self._access.require(actor, repository, Action.PULL)
        async with self._database.reading() as session:
            found = await repository_store.find(session, repository)
            if found is None:
                raise unknown_name(repository)
            return await store.rules(session, found.id)

    async def set_immutable_patterns(self, actor: Actor, repository: str, patterns: tuple[str, ...]) -> None:
        """Replace the patterns of immutable tags."""
        await self._access.require(actor, repository, Action.DELETE)
        async with self._database.writing() as session:
            found = await self._repositories.lock(session, repository)
            await store.set_rules(session, found.id, patterns)
            for listener in self._listeners:
                await listener.immutable_tags_changed(session, found, patterns, actor)

    async def move(
        self, session: Session, repository: RepositoryRef, tags: Iterable[str], digest: Digest, actor: Actor
    ) -> None:
        """Set tags to an existing manifest in the caller's transaction. Lock the repository first.

        Raises WireError DENIED for an immutable tag.
        """
        now = self._clock()
        moves: list[TagMove] = []
        for tag in dict.fromkeys(tags):
            previous = await store.target(session, repository.id, tag)
            if previous == str(digest):
                continue
            moves.append(TagMove(tag, digest, Digest.parse(previous) if previous else None, now))
        await self.require_mutable(session, repository, [move.tag for move in moves if move.previous])
        for move in moves:
            await store.set_target(session, repository.id, move.tag, str(digest), now, actor.name)
        await self.record(session, repository, tuple(moves), actor)
        await self._mark_untagged(session, repository, moves)

    async def remove(
        self, session: Session, repository: RepositoryRef, tags: Sequence[str], digest: Digest, actor: Actor
    ) -> None:
        """Delete tags of a manifest in the caller's transaction. Lock the repository first."""
        await store.remove_some(session, repository.id, tags)
        now = self._clock()
        await self.record(session, repository, tuple(TagMove(tag, None, digest, now) for tag in tags), actor)

    async def record(
        self, session: Session, repository: RepositoryRef, moves: tuple[TagMove, ...], actor: Actor
    ) -> None:
        """Write moves into the history and notify the listeners, in the caller's transaction."""
        if moves:
            await store.add_moves(session, repository.id, moves, actor.name)
            for listener in self._listeners:
                await listener.tags_moved(session, repository, moves, actor)

    async def _mark_untagged(self, session: Session, repository: RepositoryRef, moves: Iterable[TagMove]) -> None:
        if self._policy.replaced_lifetime is None:
            return
        for move in moves:
            if move.previous is not None:
                until = move.at + max(self._policy.replaced_lifetime, self._policy.grace)
                await mark_unreferenced(session, repository.id, str(move.previous), until)

    async def require_all_mutable(self, repository: RepositoryRef, digest: Digest) -> None:
        """Raise DENIED if any tag of a manifest is immutable, however many it has."""
        async with self._database.reading() as session:
            patterns = await store.rules(session, repository.id)
        names: tuple[str, ...] = ("",) if patterns else ()
        while names:
            async with self._database.reading_long(CHECK_TIMEOUT) as session:
                names = await store.pointing_at_after(session, repository.id, str(digest), names[-1], NAMES_AT_ONCE)
            _require_mutable(patterns, names)

    async def require_mutable(self, session: Session, repository: RepositoryRef, tags: Iterable[str]) -> None:
        """Raise DENIED if one of these tags is immutable in the repository."""
        changed = tuple(tags)
        _require_mutable(await store.rules(session, repository.id) if changed else (), changed)


def _require_mutable(patterns: Sequence[str], tags: Iterable[str]) -> None:
    for tag in tags if patterns else ():
        if any(fnmatchcase(tag, pattern) for pattern in patterns):
            raise WireError(ErrorCode.DENIED, f"the tag {tag} is immutable in this repository: use another tag")


def unknown_tag(tag: str) -> WireError:
    """Return the error for a missing tag."""
    return WireError(ErrorCode.MANIFEST_UNKNOWN, detail={"tag": tag})
