"""A complete hub without HTTP, called from plain functions, with an adjustable clock."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.parts.database import Run

from hythe.database import Database
from hythe.hub.accounts.users import NewUser
from hythe.hub.actor import HubActor
from hythe.hub.service import HubFoundation, HubServices
from hythe.oci.digest import Digest
from hythe.oci.manifest import OCI_CONFIG, OCI_MANIFEST, Descriptor, ImageManifest
from hythe.registry.service import RegistryServices

PASSWORD = "correct horse"


@dataclass
class Clock:
    """The hub's time."""

    now: datetime = field(default_factory=lambda: datetime(2026, 11, 23, 12, tzinfo=UTC))

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> None:
        """Advance the clock."""
        self.now += timedelta(**by)


@dataclass
class Services:
    """A hub and its registry, called from plain functions."""

    run: Run[Any]
    database: Database
    foundation: HubFoundation
    registry: RegistryServices
    hub: HubServices
    clock: Clock

    def user(self, name: str, *, admin: bool = False) -> HubActor:
        """Create an account and return it as it signs in with its password."""
        new = NewUser(name, f"{name}@example.com", PASSWORD)
        self.run(self.hub.users.create(HubActor.operator(), new, admin=admin))
        actor: HubActor = self.run(self.hub.credentials.by_password(name, PASSWORD))
        return actor

    def push(
        self,
        actor: HubActor,
        repository: str,
        tag: str = "latest",
        content: bytes = b'{"os":"linux"}',
        said: int | None = None,
    ) -> str:
        """Push a small image as an engine does and return its digest; ``said`` is a wrong size of its content."""
        return str(self.run(self._push(actor, self.registry.access.canonical(repository), tag, content, said)))

    async def _push(
        self, actor: HubActor, repository: str, tag: str, content: bytes, said: int | None = None
    ) -> Digest:
        config = Digest.of(content)
        await self.registry.uploads.put(actor, repository, config, _pieces(content))
        descriptor = Descriptor(OCI_CONFIG, str(config), len(content) if said is None else said)
        manifest = ImageManifest(2, OCI_MANIFEST, descriptor, ()).encode()
        digest = Digest.of(manifest)
        await self.registry.manifests.put(actor, repository, digest, (tag,), manifest, OCI_MANIFEST)
        return digest


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    yield content
