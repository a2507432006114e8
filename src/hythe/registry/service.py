"""Wires the registry's services from the parts that they need."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hythe.database import Database
from hythe.database.change_retention import ChangeRetention
from hythe.database.liveness import DatabaseLiveness
from hythe.oci.digest import Digest
from hythe.registry.access import Access
from hythe.registry.blobs import Blobs
from hythe.registry.catalog import Catalog
from hythe.registry.clock import Clock, now
from hythe.registry.content_removal import ContentRemoval
from hythe.registry.contents import Contents
from hythe.registry.deletions import Deletions
from hythe.registry.events import RegistryListener
from hythe.registry.garbage_collection import GarbageCollection
from hythe.registry.installation import report_missing_blobs
from hythe.registry.manifests import Manifests
from hythe.registry.mirror.upstreams import Upstreams
from hythe.registry.policy import Policy
from hythe.registry.quota import Quota
from hythe.registry.referrers import Referrers
from hythe.registry.repositories import Repositories
from hythe.registry.storage.port import BlobStore
from hythe.registry.tags import Tags
from hythe.registry.uploads import Uploads
from hythe.registry.verification import Verification
from hythe.settings import Settings

if TYPE_CHECKING:
    from hythe.registry.mirror.mirror import Mirror


class RegistryServices:
    """The services behind ``/v2/``, without HTTP. Repository names are canonical; every call takes the actor."""

    def __init__(
        self,
        database: Database,
        storage: BlobStore,
        access: Access,
        listeners: Sequence[RegistryListener],
        policy: Policy,
        clock: Clock = now,
        mirror: "Mirror | None" = None,
    ) -> None:
        self._storage = storage
        self.database = database
        self.liveness = DatabaseLiveness(database)
        self.access = access
        self.listeners = listeners
        self.policy = policy
        self.deletions = Deletions(database, listeners, policy, clock)
        self.repositories = Repositories(database, access, listeners, self.deletions, clock)
        self.verification = Verification(database, storage, policy, clock)
        quota = Quota(database, storage, self.deletions, clock)
        self.blobs = Blobs(database, storage, access, self.repositories, self.verification, quota, policy, clock)
        self.uploads = Uploads(database, storage, access, self.repositories, quota, policy, clock)
        self.tags = Tags(database, access, listeners, self.repositories, policy, clock)
        self.manifests = Manifests(database, access, listeners, self.repositories, self.tags, quota, policy, clock)
        self.content_removal = ContentRemoval(database, self.manifests, self.tags, listeners, policy, clock)
        self.referrers = Referrers(database, access)
        self.catalog = Catalog(database, access)
        self.garbage = GarbageCollection(database, storage, policy, clock)
        self.contents = Contents(access, self.manifests, self.blobs, self.tags, mirror)
        self._mirror = mirror
        self._change_retention = ChangeRetention(database)

    async def try_storage(self) -> None:
        """Make requests to the blob store, and report missing blobs. Raises StorageUnavailable if it fails."""
        await self.ask_storage()
        await report_missing_blobs(self.database, self._storage)

    async def ask_storage(self) -> None:
        """Make one request to the blob store. Raises StorageUnavailable if it fails."""
        await self._storage.stat(Digest.of(b""))

    async def run_housekeeping(self) -> None:
        """Run garbage collection repeatedly until cancelled, and delete what deleted repositories contained."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.deletions.run())
            tasks.create_task(self.garbage.run())
            tasks.create_task(self._change_retention.run())
            if self._mirror is not None:
                tasks.create_task(self._mirror.expiry.run())

    def apply(self, settings: Settings, upstreams: Upstreams) -> None:
        """Take over changed limits and times, and changed credentials of mirrors."""
        self.policy.update(Policy.of(settings))
        if self._mirror is not None:
            self._mirror.apply(self.policy, upstreams)

    async def close(self) -> None:
        """Cancel background downloads. The caller closes the registry's other parts."""
        if self._mirror is not None:
            await self._mirror.close()


def make_registry(
    database: Database,
    storage: BlobStore,
    access: Access,
    listeners: Sequence[RegistryListener],
    settings: Settings,
    upstreams: Upstreams,
) -> RegistryServices:
    """Return the registry for the settings, built from these parts."""
    policy = Policy.of(settings)
    mirror = None
    if upstreams:
        # Import here: its HTTP client takes 100 ms and 15 MiB, and most registries mirror nothing.
        from hythe.egress.policy import EgressPolicy
        from hythe.registry.mirror.mirror import Mirror

        egress = EgressPolicy.parse(settings.internal_networks)
        mirror = Mirror(upstreams, settings.data_folder, database, storage, access, policy, egress)
    return RegistryServices(database, storage, access, listeners, policy, mirror=mirror)
