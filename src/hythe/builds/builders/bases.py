"""Base images: fetched by the worker with the hub's token or without credentials, never by what runs in a sandbox."""

from hythe.builds.job import Job
from hythe.builds.worker.link import HubLink
from hythe.client.client import Client
from hythe.client.credentials import ANONYMOUS, Credential
from hythe.client.errors import ClientError
from hythe.client.layout import ImageLayout
from hythe.client.places import LayoutPlace, RegistryPlace
from hythe.client.platforms import choose, host_platform, parse_platform
from hythe.client.protocol import Repository
from hythe.client.transfer import Wish, transfer
from hythe.oci.errors import OCIError
from hythe.oci.manifest import Kind, Platform
from hythe.oci.reference import Reference

LAYOUT_TAG = "base"


class BaseImages:
    """What a build may take: of its own hub what the repository's owner may read, elsewhere what is public."""

    def __init__(self, job: Job, link: HubLink, client: Client) -> None:
        self._job = job
        self._link = link
        self._client = client
        self.trouble = ""

    def reference(self, name: str) -> Reference:
        """Return the image that a Dockerfile names; without a host it is Docker Hub's, as Docker reads it."""
        try:
            return Reference.parse(name).with_default_tag()
        except OCIError as error:
            self.trouble = str(error)
            raise

    def digest(self, reference: Reference, platform: str) -> str | None:
        """Return the digest of the image or index, None when there is none for this platform (see ``trouble``)."""
        try:
            found = self._repository(reference).get_manifest(str(reference.target))
            if found.kind is Kind.INDEX:
                choose(found.manifests, _platform(platform))
            return str(found.digest())
        except ClientError as error:
            self.trouble = str(error)
            return None

    def fetch(self, reference: Reference, digest: str, platform: str, layout: ImageLayout) -> str:
        """Bring the image into a layout; returns the tag that it has there. Raises ClientError."""
        source = RegistryPlace(self._repository(reference), digest)
        transfer(source, LayoutPlace(layout, tag=LAYOUT_TAG), Wish((_platform(platform),)))
        return LAYOUT_TAG

    def _repository(self, reference: Reference) -> Repository:
        credential = ANONYMOUS
        if reference.host == self._job.registry:
            credential = Credential(registry_token=self._link.push_token(self._job, (reference.repository,)))
        return Repository(self._client.session(reference.host, reference.repository, credential), reference.repository)


def _platform(text: str) -> Platform:
    return parse_platform(text) if text else host_platform()
