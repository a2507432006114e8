"""Referrers: manifests whose ``subject`` is another manifest."""

from collections.abc import Sequence

import msgspec

from hythe.database import Database
from hythe.oci.digest import Digest
from hythe.oci.manifest import Descriptor
from hythe.registry.access import Access, Action, Actor
from hythe.registry.sql import referrers as store

MAX_PAGE_SIZE = 1000
"""Maximum number of referrers in one response."""

MAX_ANNOTATIONS_SIZE = 2 * 1024 * 1024
"""Maximum bytes of annotations in one response: clients reject an index of more than 4 MiB."""


MAX_MANIFESTS_SIZE = 4 * 1024 * 1024
"""Maximum bytes of the manifests whose annotations are read for one response."""


class ReferrersPage(msgspec.Struct, frozen=True):
    """A page of referrers sorted by digest; ``more``: others follow."""

    descriptors: tuple[Descriptor, ...]
    more: bool


class Referrers:
    """Lists the referrers of manifests."""

    def __init__(self, database: Database, access: Access) -> None:
        self._database = database
        self._access = access

    async def of(
        self,
        actor: Actor,
        repository: str,
        subject: Digest,
        artifact_type: str | None = None,
        after: str = "",
        limit: int | None = None,
    ) -> ReferrersPage:
        """Return the referrers of a manifest, which need not exist (specification, "Listing Referrers")."""
        await self._access.require(actor, repository, Action.PULL)
        wanted = min(limit, MAX_PAGE_SIZE) if limit is not None else MAX_PAGE_SIZE
        async with self._database.reading() as session:
            found = await store.sizes_after(session, repository, subject, artifact_type, after, wanted + 1)
            page = await store.descriptors(session, repository, _limit_manifests(found[:wanted]))
        page = _limit_annotations(page)
        return ReferrersPage(page, 0 < len(page) < len(found))


def _limit_manifests(found: Sequence[tuple[str, int]]) -> list[str]:
    """Return the digests of as many manifests as may be read, at least the first."""
    total = 0
    digests: list[str] = []
    for digest, size in found:
        total += size
        if total > MAX_MANIFESTS_SIZE and digests:
            break
        digests.append(digest)
    return digests


def _limit_annotations(descriptors: tuple[Descriptor, ...]) -> tuple[Descriptor, ...]:
    size = 0
    for count, descriptor in enumerate(descriptors):
        size += sum(len(key) + len(value) for key, value in descriptor.annotations.items())
        if size > MAX_ANNOTATIONS_SIZE and count:
            return descriptors[:count]
    return descriptors
