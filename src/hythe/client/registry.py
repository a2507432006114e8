"""``Registry``: what scripts use to list, read and copy images."""

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

import msgspec

from hythe.client.client import Client
from hythe.client.credentials import Credential
from hythe.client.errors import ContentMismatch, RemoteNotFound
from hythe.client.hub import HubClient, SearchResult
from hythe.client.image_locations import KINDS, open_destination, open_source
from hythe.client.platforms import choose_image, host_platform, parse_platform
from hythe.client.progress import Reporter
from hythe.client.protocol import RemoteRepository, catalog
from hythe.client.transfer import TransferOptions, transfer
from hythe.oci.config import ImageConfig
from hythe.oci.digest import Digest
from hythe.oci.manifest import Descriptor, Kind, Manifest, Platform
from hythe.oci.reference import Reference, split_host
from hythe.oci.scope import DELETE, PULL


class RemoteImage(msgspec.Struct, frozen=True):
    """One image of a registry, for one platform; ``digest`` is what its name points at (perhaps an index)."""

    reference: Reference
    digest: Digest
    platforms: tuple[Platform, ...]
    manifest: Manifest
    config: ImageConfig

    @property
    def id(self) -> str:
        """The image ID, as docker shows it."""
        return self.manifest.config.digest if self.manifest.config else str(self.manifest.digest())

    @property
    def layers(self) -> tuple[Descriptor, ...]:
        """The layers, lowest first; sizes in bytes as they are sent."""
        return self.manifest.layers


class Registry:
    """One registry, or hub; use it as a context manager, or close it.

    Names may leave out its host: ``ann/app:1``. Credentials are found where docker and podman keep them, unless
    ``username`` and ``password`` are given. Every call raises kinds of ``hythe.client.errors.ClientError``.
    """

    def __init__(
        self,
        host: str = "docker.io",
        *,
        username: str = "",
        password: str = "",
        plain_http: bool = False,
        client: Client | None = None,
    ) -> None:
        self.host = host
        credentials_by_host = {host: Credential(username, password)} if username else {}
        self._client = client or Client(
            plain_http=(host,) if plain_http else (), credentials_by_host=credentials_by_host
        )

    def repositories(self) -> Iterator[str]:
        """Yield the names of the repositories that the registry lists (Docker Hub lists none)."""
        return catalog(self._client.session(self.host))

    def search(self, term: str, limit: int = 25) -> list[SearchResult]:
        """Return repositories that match ``term``, best first."""
        return HubClient(self._client, self.host).search(term, limit)

    def tags(self, repository: str) -> list[str]:
        """Return the tags of a repository."""
        return list(self._repository(self.reference(repository)).tags())

    def manifest(self, name: str) -> Manifest:
        """Return what a name points at: the manifest of an image, or an index."""
        reference = self.reference(name).with_default_tag()
        return self._repository(reference).get_manifest(reference.target)

    def image(self, name: str, platform: str = "") -> RemoteImage:
        """Return an image with its configuration, for ``os/architecture`` (default: this machine's)."""
        reference = self.reference(name).with_default_tag()
        repository = self._repository(reference)
        root = manifest = repository.get_manifest(reference.target)
        if root.kind is Kind.INDEX:
            wanted = parse_platform(platform) if platform else host_platform()
            manifest = repository.get_manifest(choose_image(root.manifests, wanted).digest)
        if manifest.config is None:
            raise RemoteNotFound(f"{name} has no configuration", "it is no image")
        config = ImageConfig.parse(_read_blob(repository, manifest.config))
        offered = tuple(child.platform for child in root.manifests if child.platform)
        own = Platform(config.architecture, config.os, variant=config.variant)
        return RemoteImage(reference, root.digest(), offered or (own,), manifest, config)

    def read_blob(self, repository: str, descriptor: Descriptor) -> bytes:
        """Return a blob's content, verified: for configurations and small layers, as it is held in memory."""
        return _read_blob(self._repository(self.reference(repository)), descriptor)

    def copy(
        self, source: str, destination: str, platforms: Iterable[str] = (), reporter: Reporter | None = None
    ) -> Digest:
        """Copy an image, for all platforms or some, and return its digest.

        Either end is a name (of this registry, or with a host of any other), ``store:NAME``, ``oci:FOLDER[:TAG]`` or
        ``docker-archive:FILE[:NAME]``.
        """
        options = TransferOptions(tuple(map(parse_platform, platforms)))
        here, there = self._located(source), self._located(destination)
        parallel = self._client.configuration.parallel_transfers
        with open_source(self._client, here) as origin, open_destination(self._client, there, here) as target:
            return transfer(origin, target, options, reporter, parallel).manifest.digest()

    def delete(self, name: str) -> None:
        """Delete a tag, or by its digest a manifest."""
        reference = self.reference(name).with_default_tag()
        session = self._client.session(reference.host, reference.repository)
        RemoteRepository(session, reference.repository, (PULL, DELETE)).delete_manifest(reference.target)

    def reference(self, name: str) -> Reference:
        """Return the full name that a short one means here."""
        return Reference.parse(name, self.host)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _repository(self, reference: Reference) -> RemoteRepository:
        return self._client.repository(reference)

    def _located(self, text: str) -> str:
        """Return a place as ``locations`` reads it: a short name gets our host."""
        kind, colon, _ = text.partition(":")
        if (colon and kind in KINDS) or split_host(text)[0]:
            return text
        return str(self.reference(text))


def _read_blob(repository: RemoteRepository, descriptor: Descriptor) -> bytes:
    with repository.open_blob(descriptor) as response:
        content = response.read().body
    if not descriptor.parsed_digest.matches(content):
        raise ContentMismatch(f"{descriptor.digest} came damaged", "try again")
    return content
