"""Base images: the worker fetches them with the hub's token or without credentials, outside the sandbox."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from hythe.client.client import Client
from hythe.client.connection import ConnectionPool
from hythe.client.credentials import ANONYMOUS, Credential
from hythe.client.endpoints import LayoutEndpoint, RegistryEndpoint
from hythe.client.errors import ClientError
from hythe.client.layout import ImageLayout
from hythe.client.platforms import choose_image, host_platform, parse_platform
from hythe.client.protocol import RemoteRepository
from hythe.client.session import RegistrySession
from hythe.client.transfer import TransferOptions, transfer
from hythe.egress.addresses import addresses_of
from hythe.egress.policy import EgressDenied, open_socket
from hythe.oci.errors import OCIError
from hythe.oci.manifest import ManifestKind, Platform
from hythe.oci.reference import Reference
from hythe.worker.builders.platforms import automatic_arguments
from hythe.worker.builders.port import BuildInput
from hythe.worker.dockerfiles.checks import near
from hythe.worker.dockerfiles.parsing import BaseImage, parse, stages, used_images
from hythe.worker.errors import BuildFailed
from hythe.worker.hub_api import HubAPI
from hythe.worker.protocol import Job

LAYOUT_TAG = "base"


class BaseImages:
    """Fetches base images: private ones only from its own hub, if the repository's owner may read them."""

    def __init__(self, job: Job, hub: HubAPI, client: Client) -> None:
        self._job = job
        self._hub = hub
        self._client = client
        self._egress = job.limits.egress
        dial = functools.partial(open_socket, self._egress)
        self._connections = ConnectionPool(
            client.connections.tls_options, client.policy.read_timeout, dial, job.limits.least_rate
        )
        """Connections to registries that Dockerfiles name; only those to the hub are made by ``client``."""
        self.problem = ""

    def reference(self, name: str) -> Reference:
        """Return the reference of an image that a Dockerfile names; a name without a host is on Docker Hub.

        Raises BuildFailed, also for hosts that builds may not reach.
        """
        try:
            reference = Reference.parse(name).with_default_tag()
        except OCIError as error:
            raise BuildFailed(f"invalid base image {name!r}: {error}") from error
        if reference.host != self._job.registry:
            self._require_allowed_host(reference.host)
        return reference

    def _require_allowed_host(self, host: str) -> None:
        """Refuse a host before anything is done; ``open_socket`` decides again what is connected to."""
        parts = urlsplit(f"//{host}")
        egress = self._egress.with_names_resolved()
        denied: EgressDenied | None = None
        for port in (parts.port,) if parts.port else (443, 80):
            try:
                egress.first_allowed(addresses_of(parts.hostname or "", port), port, parts.hostname or "")
            except EgressDenied as error:
                denied = error
            except OSError:
                return  # an unknown host is reported when the image is fetched
            else:
                return
        if denied:
            raise BuildFailed(f"base images cannot be fetched from {host}: {denied}")

    def digest(self, reference: Reference, platform: str) -> str | None:
        """Return the digest of the image or index; None if there is none for this platform (see ``problem``)."""
        try:
            found = self._repository(reference).get_manifest(str(reference.target))
            if found.kind is ManifestKind.INDEX:
                choose_image(found.manifests, _platform(platform))
            return str(found.digest())
        except ClientError as error:
            self.problem = str(error)
            return None

    def fetch(self, reference: Reference, digest: str, platform: str, layout: ImageLayout) -> None:
        """Fetch the image into a layout, with the tag LAYOUT_TAG. Raises BuildFailed."""
        source = RegistryEndpoint(self._repository(reference), digest)
        try:
            transfer(source, LayoutEndpoint(layout, tag=LAYOUT_TAG), TransferOptions((_platform(platform),)))
        except ClientError as error:
            raise BuildFailed(f"failed to fetch the base image {reference}: {error}") from error

    def _repository(self, reference: Reference) -> RemoteRepository:
        if reference.host == self._job.registry:
            credential = Credential(registry_token=self._hub.push_token(self._job, (reference.repository,)))
            session = self._client.session(reference.host, reference.repository, credential)
        else:
            session = RegistrySession(reference.host, self._connections, lambda: ANONYMOUS, self._client.policy)
        return RemoteRepository(session, reference.repository)


@contextmanager
def naming_line(build_input: BuildInput, base: BaseImage) -> Iterator[None]:
    """Add the line that names a base image to errors with it, and the stage that may be meant."""
    try:
        yield
    except BuildFailed as error:
        automatic = automatic_arguments(build_input.platform)
        instructions = parse(build_input.dockerfile_text)
        uses = used_images(instructions, build_input.arguments, automatic)
        place = next((f"{each.place}: " for each, used in uses if used == base), "")
        names = [stage.name for stage in stages(instructions, build_input.arguments, automatic) if stage.name]
        hint = near(base.name.lower(), names).replace("mean", "mean the stage") if "/" not in base.name else ""
        raise BuildFailed(f"{place}{error}{hint}") from error


def _platform(text: str) -> Platform:
    return parse_platform(text) if text else host_platform()
