"""Base images: the worker fetches them with the hub's token or without credentials, outside the sandbox."""

import contextlib
from urllib.parse import urlsplit

from hythe.client.client import Client
from hythe.client.credentials import ANONYMOUS, Credential
from hythe.client.endpoints import LayoutEndpoint, RegistryEndpoint
from hythe.client.errors import ClientError
from hythe.client.layout import ImageLayout
from hythe.client.platforms import choose_image, host_platform, parse_platform
from hythe.client.protocol import RemoteRepository
from hythe.client.transfer import TransferOptions, transfer
from hythe.oci.errors import OCIError
from hythe.oci.manifest import ManifestKind, Platform
from hythe.oci.reference import Reference
from hythe.worker.errors import BuildFailed
from hythe.worker.hub_api import HubAPI
from hythe.worker.isolation.addresses import addresses_of, is_local_machine, is_metadata
from hythe.worker.protocol import Job

LAYOUT_TAG = "base"


class BaseImages:
    """Fetches base images: private ones only from its own hub, if the repository's owner may read them."""

    def __init__(self, job: Job, hub: HubAPI, client: Client) -> None:
        self._job = job
        self._hub = hub
        self._client = client
        self.problem = ""

    def reference(self, name: str) -> Reference:
        """Return the reference of an image that a Dockerfile names; a name without a host is on Docker Hub.

        Raises BuildFailed, also for hosts of cloud metadata services and for the worker's own host.
        """
        try:
            reference = Reference.parse(name).with_default_tag()
        except OCIError as error:
            raise BuildFailed(f"invalid base image {name!r}: {error}") from error
        if reference.host != self._job.registry:
            self._require_allowed_host(reference.host)
        return reference

    def _require_allowed_host(self, host: str) -> None:
        found = _addresses(host)
        if any(map(is_metadata, found)):
            raise BuildFailed(f"base images cannot be fetched from the host {host}")
        trust = self._client.connections.tls_options
        if any(map(is_local_machine, found)) and host not in trust.plain_http and "*" not in trust.plain_http:
            raise BuildFailed(f"{host} is the worker's own host: to allow its base images, add it to HYTHE_PLAIN_HTTP")

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

    def fetch(self, reference: Reference, digest: str, platform: str, layout: ImageLayout) -> str:
        """Fetch the image into a layout and return its tag there. Raises BuildFailed."""
        source = RegistryEndpoint(self._repository(reference), digest)
        try:
            transfer(source, LayoutEndpoint(layout, tag=LAYOUT_TAG), TransferOptions((_platform(platform),)))
        except ClientError as error:
            raise BuildFailed(f"failed to fetch the base image {reference}: {error}") from error
        return LAYOUT_TAG

    def _repository(self, reference: Reference) -> RemoteRepository:
        credential = ANONYMOUS
        if reference.host == self._job.registry:
            credential = Credential(registry_token=self._hub.push_token(self._job, (reference.repository,)))
        return RemoteRepository(
            self._client.session(reference.host, reference.repository, credential), reference.repository
        )


def _platform(text: str) -> Platform:
    return parse_platform(text) if text else host_platform()


def _addresses(host: str) -> list[str]:
    parts = urlsplit(f"//{host}")
    with contextlib.suppress(OSError):  # an unknown host is reported when the image is fetched
        return addresses_of(parts.hostname or "", parts.port or 443)
    return []
