"""A registry without HTTP, driven from plain functions, with a clock that can be moved."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.parts.database import Run

from hythe.database import Database
from hythe.oci.digest import Digest
from hythe.oci.errors import ErrorCode, WireError
from hythe.oci.manifest import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from hythe.registry.access import Actor
from hythe.registry.garbage_collection import Collected
from hythe.registry.service import RegistryServices
from hythe.registry.storage.port import BlobStore

ANN = Actor("ann")
GRACE = timedelta(hours=1)


@dataclass
class Clock:
    """The registry's time."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.now

    def forward(self, by: timedelta) -> None:
        """Let time pass."""
        self.now += by


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    """The body of a request."""
    for part in parts:
        yield part


@dataclass
class Depot:
    """A registry and what it stands on."""

    runner: Run[Any]
    database: Database
    storage: BlobStore
    registry: RegistryServices
    clock: Clock

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the test's loop."""
        return self.runner(coroutine)

    def push_blob(self, repository: str, content: bytes) -> Digest:
        """Push a whole blob."""
        digest = Digest.of(content)
        self.run(self.registry.uploads.put(ANN, repository, digest, pieces(content)))
        return digest

    def push(self, repository: str, manifest: dict[str, Any], *tags: str, actor: Actor = ANN) -> Digest:
        """Push a manifest under its digest and these tags."""
        content = json.dumps(manifest).encode()
        digest = Digest.of(content)
        self.run(self.registry.manifests.put(actor, repository, digest, tags, content, manifest["mediaType"]))
        return digest

    def push_image(self, repository: str, *tags: str, layer: bytes = b"layer", **fields: Any) -> Digest:
        """Push an image of one layer with its blobs."""
        self.push_blob(repository, b"{}")
        self.push_blob(repository, layer)
        return self.push(repository, image(layer, **fields), *tags)

    def has_blob(self, repository: str, content: bytes) -> bool:
        """Whether the repository has the blob, and its bytes are there."""
        try:
            blob = self.run(self.registry.blobs.get(ANN, repository, Digest.of(content)))
            self.run(self.registry.blobs.locate(blob))
        except WireError as error:
            if error.code is ErrorCode.BLOB_UNKNOWN:
                return False
            raise
        return True

    def is_stored(self, content: bytes) -> bool:
        """Whether the bytes are in the blob store."""
        return self.run(self.storage.stat(Digest.of(content))) is not None

    def has_manifest(self, repository: str, reference: str | Digest) -> bool:
        """Whether the repository has the manifest."""
        try:
            self.run(self.registry.manifests.get(ANN, repository, reference))
        except WireError as error:
            if error.code is ErrorCode.MANIFEST_UNKNOWN:
                return False
            raise
        return True

    def tags(self, repository: str) -> tuple[str, ...]:
        """The repository's tags."""
        names: tuple[str, ...] = self.run(self.registry.tags.names(ANN, repository)).names
        return names

    def collect(self, *, dry_run: bool = False) -> Collected:
        """One round of the garbage collection."""
        collected: Collected = self.run(self.registry.garbage.collect(dry_run=dry_run))
        return collected

    def collect_after_grace(self) -> Collected:
        """One round of the garbage collection after everything's grace period, which was foreseen rightly."""
        self.clock.forward(GRACE * 1.01)
        return self.collect_as_foreseen()

    def collect_as_foreseen(self) -> Collected:
        """One round of the garbage collection, which takes exactly what a dry run just before says."""
        foreseen = self.collect(dry_run=True)
        done = self.collect()
        for taken in ("manifests", "blobs"):
            assert set(getattr(foreseen, taken)) == set(getattr(done, taken))
        return done


def image(*layers: bytes, config: bytes = b"{}", **fields: Any) -> dict[str, Any]:
    """The manifest of an image."""
    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _descriptor(config, OCI_CONFIG),
        "layers": [_descriptor(layer, OCI_LAYER) for layer in layers],
        **fields,
    }


def index(*children: Digest, **fields: Any) -> dict[str, Any]:
    """An image index."""
    manifests = [{"mediaType": OCI_MANIFEST, "digest": str(child), "size": 2} for child in children]
    return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests, **fields}


def subject(digest: Digest) -> dict[str, Any]:
    """The subject of a referrer."""
    return {"mediaType": OCI_MANIFEST, "digest": str(digest), "size": 2}


def _descriptor(content: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content)}
