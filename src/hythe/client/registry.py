"""``Registry``: the API for scripts to list, read and copy images."""

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

import msgspec

from hythe.client.client import Client
from hythe.client.credentials import Credential
from hythe.client.errors import ContentMismatch, InvalidName, RemoteNotFound, as_client_errors
from hythe.client.hub import HubClient, SearchResult
from hythe.client.image_locations import KINDS, UNSUPPORTED_KINDS, is_store, open_destination, open_source
from hythe.client.image_tree import choose_in_tree
from hythe.client.platforms import choose_image, host_platform, parse_platform, require_host_image
from hythe.client.progress import Reporter
from hythe.client.protocol import RemoteRepository, catalog
from hythe.client.transfer import TransferOptions, transfer
from hythe.oci.config import ImageConfig
from hythe.oci.digest import Digest
from hythe.oci.manifest import Descriptor, Manifest, Platform
from hythe.oci.reference import Reference, is_host, split_host
from hythe.oci.scope import DELETE, PULL


class RemoteImage(msgspec.Struct, frozen=True):
    """An image in a registry, for one platform; ``digest`` is what its name refers to (possibly an index)."""

    reference: Reference
    digest: Digest
    platforms: tuple[Platform, ...]
    manifest: Manifest
    config: ImageConfig

    @property
    def id(self) -> str:
        """The image ID that docker shows."""
        return self.manifest.config.digest if self.manifest.config else str(self.manifest.digest())

    @property
    def layers(self) -> tuple[Descriptor, ...]:
        """The layers, lowest first, with their compressed sizes in bytes."""
        return self.manifest.layers


class Registry:
    """A registry or hub; use it as a context manager, or close it.

    Names can omit its host: ``ann/app:1``. Credentials come from the files of docker and podman, unless ``username``
    and ``password`` are given. Whatever fails, the constructor and all methods raise subclasses of
    ``hythe.client.errors.ClientError``: for invalid names and files as well as for servers.
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
        if not is_host(host):
            raise InvalidName(f"{host!r} is not a host", "write HOST[:PORT], such as registry.example.com:5000")
        self.host = host
        credentials_by_host = {host: Credential(username, password)} if username else {}
        self._client = client or Client(
            plain_http=(host,) if plain_http else (), credentials_by_host=credentials_by_host
        )

    def repositories(self) -> Iterator[str]:
        """Yield the names of all repositories in the registry (not supported by Docker Hub)."""
        with as_client_errors():
            yield from catalog(self._client.session(self.host))

    @as_client_errors()
    def search(self, term: str, limit: int = 25) -> list[SearchResult]:
        """Return repositories that match ``term``, best first."""
        return HubClient(self._client, self.host).search(term, limit)

    @as_client_errors()
    def tags(self, repository: str) -> list[str]:
        """Return the tags of a repository."""
        return list(self._repository(self.reference(repository)).tags())

    @as_client_errors()
    def manifest(self, name: str) -> Manifest:
        """Return the manifest of a name: an image's, or an index."""
        reference = self.reference(name).with_default_tag()
        return self._repository(reference).get_manifest(reference.target)

    @as_client_errors()
    def image(self, name: str, platform: str = "") -> RemoteImage:
        """Return an image with its configuration, for a platform ``os/architecture`` (default: this machine's)."""
        reference = self.reference(name).with_default_tag()
        repository = self._repository(reference)
        root = repository.get_manifest(reference.target)
        wanted = parse_platform(platform) if platform else host_platform()

        def read(child: Descriptor) -> Manifest:
            try:
                return repository.get_manifest(child.digest)
            except RemoteNotFound as error:
                message = f"{child.digest} ({child.platform}) of the index does not exist"
                raise RemoteNotFound(message, "the registry has only some of its platforms") from error

        manifest = choose_in_tree(root, lambda index: choose_image(index.manifests, wanted), read)
        if manifest.config is None:
            raise RemoteNotFound(f"{name} is not an image: it has no configuration")
        config = ImageConfig.parse(_read_blob(repository, manifest.config))
        offered = tuple(child.platform for child in root.manifests if child.platform)
        image_platform = Platform(config.architecture, config.os, variant=config.variant)
        return RemoteImage(reference, root.digest(), offered or (image_platform,), manifest, config)

    @as_client_errors()
    def read_blob(self, repository: str, descriptor: Descriptor) -> bytes:
        """Return a verified blob, read into memory: for configurations and small layers."""
        return _read_blob(self._repository(self.reference(repository)), descriptor)

    @as_client_errors()
    def copy(
        self,
        source: str,
        destination: str,
        platforms: Iterable[str] = (),
        reporter: Reporter | None = None,
        *,
        all_platforms: bool = False,
    ) -> Digest:
        """Copy an image, for all or some platforms, and return its digest.

        Source and destination are a name (in this registry, or with the host of another), ``store:NAME``,
        ``oci:FOLDER[:TAG]`` or ``docker-archive:FILE[:NAME]``. An index without an image for this machine is copied
        to the store only with ``platforms`` or ``all_platforms``; RemoteNotFound then names its platforms.
        """
        options = TransferOptions(tuple(map(parse_platform, platforms)))
        origin, target = self._location(source), self._location(destination)
        is_checked = options.is_all and not all_platforms and is_store(target)
        parallel = self._client.configuration.parallel_transfers
        with open_source(self._client, origin) as here, open_destination(self._client, target, origin) as there:
            result = transfer(
                here, there, options, reporter, parallel, on_manifest=require_host_image if is_checked else None
            )
            return result.manifest.digest()

    @as_client_errors()
    def delete(self, name: str) -> None:
        """Delete a tag, or a manifest by its digest."""
        reference = self.reference(name).with_default_tag()
        session = self._client.session(reference.host, reference.repository)
        RemoteRepository(session, reference.repository, (PULL, DELETE)).delete_manifest(reference.target)

    @as_client_errors()
    def reference(self, name: str) -> Reference:
        """Return the full reference of a name in this registry."""
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

    def _location(self, text: str) -> str:
        """Return a location for ``image_locations``: names without a host get this registry's."""
        kind, colon, _ = text.partition(":")
        if (colon and kind in (*KINDS, *UNSUPPORTED_KINDS)) or split_host(text)[0]:
            return text
        return str(self.reference(text))


def _read_blob(repository: RemoteRepository, descriptor: Descriptor) -> bytes:
    with repository.open_blob(descriptor) as stream:
        content = stream.read().body
    if not descriptor.parsed_digest.matches(content):
        raise ContentMismatch(f"blob {descriptor.digest} does not match its digest", "try again")
    return content
