"""What garbage collection freed."""

from datetime import datetime

import msgspec

from hythe.registry.sql.garbage_collection import MAX_FAILURE, GarbageRun


class FreedManifest(msgspec.Struct, frozen=True):
    """A manifest that was deleted, or would be in a dry run."""

    repository: str
    digest: str


class FreedBlob(msgspec.Struct, frozen=True):
    """A blob whose ``size`` bytes were freed, or would be in a dry run."""

    digest: str
    size: int


class GarbageTotals:
    """Counts what was freed."""

    def __init__(self) -> None:
        self.manifests = self.blobs = self.bytes = 0

    def add(self, freed: FreedManifest | FreedBlob) -> None:
        """Count what was freed."""
        if isinstance(freed, FreedBlob):
            self.blobs += 1
            self.bytes += freed.size
        else:
            self.manifests += 1

    def run(self, started: datetime, finished: datetime, by: str, *, uploads: int = 0, failure: str = "") -> GarbageRun:
        """Return the run that freed this."""
        return GarbageRun(
            started_at=started,
            finished_at=finished,
            started_by=by,
            manifests=self.manifests,
            blobs=self.blobs,
            bytes=self.bytes,
            uploads=uploads,
            failure=failure[:MAX_FAILURE],
        )
