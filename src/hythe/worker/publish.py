"""Pushes the result of a build: each platform's image by digest, then attestations, and finally the tags."""

from collections.abc import Sequence
from pathlib import Path

from hythe.client.client import Client
from hythe.client.credentials import Credential
from hythe.client.endpoints import LayoutEndpoint, RegistryEndpoint
from hythe.client.layout import ImageLayout
from hythe.client.protocol import PUSH_ACTIONS, RemoteRepository
from hythe.client.session import RegistrySession
from hythe.client.transfer import transfer
from hythe.oci.manifest import OCI_INDEX, Descriptor, Index, Manifest, Platform
from hythe.provenance.attestation import attestation_image, attestation_tag, bundle_image
from hythe.worker.builders.port import BuiltImage
from hythe.worker.hub_api import HubAPI
from hythe.worker.protocol import Job


class Publisher:
    """The build's own repository, with short-lived tokens for it alone."""

    def __init__(self, job: Job, hub: HubAPI, client: Client) -> None:
        self._repository = build_repository(job, hub, client)

    def push_images(self, images: Sequence[tuple[BuiltImage, Platform]]) -> Manifest:
        """Push the images by digest; return the digest for the tags."""
        for image, _ in images:
            destination = RegistryEndpoint(self._repository, image.descriptor.digest)
            transfer(LayoutEndpoint(ImageLayout(image.layout), image.descriptor), destination)
        manifest = combined_manifest(images)
        if len(images) > 1:
            self._repository.put_manifest(manifest, str(manifest.digest()))
        return manifest

    def attach(self, subject: str, envelopes: Sequence[tuple[str, bytes]], folder: Path, created: str) -> str:
        """Attach signed statements to an image of the build: see ``attach``."""
        return attach(self._repository, subject, envelopes, folder, created)

    def tag(self, manifest: Manifest, tags: Sequence[str]) -> None:
        """Set the tags; the hub refuses if another worker has the build."""
        for tag in tags:
            self._repository.put_manifest(manifest, tag)


def attach(
    repository: RemoteRepository, subject: str, envelopes: Sequence[tuple[str, bytes]], folder: Path, created: str
) -> str:
    """Attach signed statements (predicate type, DSSE envelope) to an image in each form that verifiers look for.

    ``folder`` is for temporary files. Returns the digest of the manifest that contains all of them.
    """
    layout = ImageLayout(folder)
    layout.create()
    image = repository.get_manifest(subject)
    manifest = attestation_image(layout, image.descriptor(), envelopes)
    destination = RegistryEndpoint(repository, attestation_tag(image.digest()))
    transfer(LayoutEndpoint(layout, manifest.descriptor()), destination)
    for kind, envelope in envelopes:
        bundle = bundle_image(layout, image.descriptor(), kind, envelope, created)
        destination = RegistryEndpoint(repository, str(bundle.digest()))
        transfer(LayoutEndpoint(layout, bundle.descriptor()), destination)
    return str(manifest.digest())


def build_repository(job: Job, hub: HubAPI, client: Client) -> RemoteRepository:
    """Return the client of the build's repository, with the build's own rights."""

    def credential() -> Credential:
        return Credential(registry_token=hub.push_token(job))

    session = RegistrySession(job.registry, client.connections, credential, client.policy)
    return RemoteRepository(session, job.repository, PUSH_ACTIONS)


def combined_manifest(images: Sequence[tuple[BuiltImage, Platform]]) -> Manifest:
    """Return the manifest of the only image, or the index of all platforms."""
    if len(images) == 1:
        image, _ = images[0]
        return ImageLayout(image.layout).read_manifest(image.descriptor)
    entries = tuple(
        Descriptor(image.descriptor.media_type, image.descriptor.digest, image.descriptor.size, platform=platform)
        for image, platform in images
    )
    return Manifest.parse(Index(2, OCI_INDEX, entries).encode(), OCI_INDEX)
