"""Metrics of the registry, also of a private one: what happens there, and what it stores.

Pushes are counted in their transaction: one that fails afterwards, which is rare, is counted too.
"""

from hythe.database import Session
from hythe.oci.digest import Digest
from hythe.oci.manifest import INDEX_MEDIA_TYPES
from hythe.registry.access import Actor
from hythe.registry.events import PulledManifest, RegistryListener, RepositoryRef
from hythe.registry.sql.totals import stored_totals
from hythe.telemetry import metrics
from hythe.telemetry.metrics import (
    BLOBS_PUSHED,
    MANIFESTS_PULLED,
    MANIFESTS_PUSHED,
)

_KINDS = ("image", "index")


class RegistryMetrics(RegistryListener):
    """Counts pulls and pushes."""

    def __init__(self) -> None:
        self._pulled = tuple(MANIFESTS_PULLED.cell(kind) for kind in _KINDS)
        self._pushed = tuple(MANIFESTS_PUSHED.cell(kind) for kind in _KINDS)

    async def manifest_pushed(
        self, session: Session, repository: RepositoryRef, digest: Digest, media_type: str, size: int, actor: Actor
    ) -> None:
        """See RegistryListener."""
        self._pushed[media_type in INDEX_MEDIA_TYPES].value += 1

    async def blob_pushed(self, session: Session, repository: RepositoryRef, digest: Digest, actor: Actor) -> None:
        """See RegistryListener."""
        BLOBS_PUSHED.add()

    async def manifest_pulled(self, repository: RepositoryRef, pulled: PulledManifest, actor: Actor) -> None:
        """See RegistryListener."""
        self._pulled[pulled.is_index].value += 1


async def measure_storage(session: Session) -> None:
    """Set the gauges of stored bytes and objects."""
    totals = await stored_totals(session)
    metrics.STORAGE_BYTES.set(totals.stored, "images")
    metrics.STORAGE_BYTES.set(totals.uploading, "uploads")
    metrics.STORAGE_OBJECTS.set(totals.repositories, "repositories")
    metrics.STORAGE_OBJECTS.set(totals.namespaces, "namespaces")
    metrics.STORAGE_OBJECTS.set(totals.uploads, "uploads")
