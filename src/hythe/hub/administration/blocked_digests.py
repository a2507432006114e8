"""Blocked manifests and blobs: no one can push them, and blocking deletes them from all repositories.

The bytes of a blocked blob are freed like those of any other that no repository contains.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from hythe.database import Database, Session
from hythe.database.pacing import paced
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.actor import HubActor
from hythe.hub.errors import Invalid, NotFound
from hythe.hub.logs import audit
from hythe.hub.page import Page, Paging
from hythe.hub.sql import blocked_digests as store
from hythe.hub.sql.blocked_digests import BlockedDigest
from hythe.oci.digest import Digest
from hythe.oci.errors import ErrorCode, InvalidDigest, WireError
from hythe.registry.service import RegistryServices
from hythe.registry.sql import repositories as repository_store

REPOSITORIES_AT_ONCE = 20


class NewBlockedDigest(msgspec.Struct, frozen=True):
    """A manifest or blob to block."""

    digest: Annotated[str, Meta(max_length=140)]
    reason: Annotated[str, Meta(max_length=500)] = ""


class BlockingResult(msgspec.Struct, frozen=True):
    """From how many repositories the content was deleted."""

    repositories: int


class BlockedDigests:
    """The blocked digests. Every call raises SignInNeeded or Refused unless an administrator calls."""

    def __init__(
        self, database: Database, access: HubAccess, registry: RegistryServices, clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._access = access
        self._registry = registry
        self._clock = clock

    async def list(self, actor: HubActor, paging: Paging) -> Page[BlockedDigest]:
        """Return the blocked digests."""
        await self._access.require_hub(actor, HubAction.VIEW_BLOCKED)
        async with self._database.reading() as session:
            return await store.listed(session, paging)

    async def block(self, actor: HubActor, new: NewBlockedDigest) -> BlockingResult:
        """Block a digest, and delete it from every repository, with the images that contain the blob.

        Blocking it again continues a deletion that was interrupted. Raises Invalid.
        """
        await self._access.require_hub(actor, HubAction.BLOCK_DIGEST)
        try:
            digest = Digest.parse(new.digest.strip())
        except InvalidDigest as error:
            raise Invalid({"digest": str(error)}) from error
        async with self._database.writing() as session:
            await store.put(session, str(digest), new.reason.strip()[:500], actor.name, self._clock())
            await audit.record(
                session, actor, HubAction.BLOCK_DIGEST, str(digest), detail={"reason": new.reason}, at=self._clock()
            )
        # From here on no one can push it.
        return BlockingResult(await self._delete_everywhere(actor, digest))

    async def unblock(self, actor: HubActor, digest: str) -> None:
        """Unblock a digest. Raises NotFound."""
        await self._access.require_hub(actor, HubAction.UNBLOCK_DIGEST)
        async with self._database.writing() as session:
            if not await store.remove(session, digest):
                raise NotFound(f"{digest[:140]!r} is not blocked")
            await audit.record(session, actor, HubAction.UNBLOCK_DIGEST, digest, at=self._clock())

    async def _delete_everywhere(self, actor: HubActor, digest: Digest) -> int:
        """Delete the content in one short transaction after the other; return from how many repositories."""
        database, done = paced(self._database), set[str]()
        while True:
            async with database.reading() as session:
                found = {
                    *await store.some_repositories(session, str(digest), REPOSITORIES_AT_ONCE),
                    *await repository_store.names_containing(session, str(digest), REPOSITORIES_AT_ONCE),
                }
            if not found - done:
                return len(done)
            for repository in sorted(found - done):
                await self._registry.content_removal.remove(actor, repository, digest)
                done.add(repository)


async def require_manifest(session: Session, repository_id: int, digest: str) -> None:
    """Raise WireError DENIED if a manifest that is being pushed, or one of its blobs, is blocked."""
    blocked = await store.of_manifest(session, repository_id, digest)
    if blocked is not None:
        raise _refusal(blocked)


async def require_blob(session: Session, digest: str) -> None:
    """Raise WireError DENIED if a blob that is being pushed is blocked."""
    if await store.is_blocked(session, digest):
        raise _refusal(digest)


def _refusal(digest: str) -> WireError:
    return WireError(ErrorCode.DENIED, f"an administrator blocked {digest} on this hub")
