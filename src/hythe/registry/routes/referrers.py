"""``/v2/NAME/referrers/DIGEST``."""

from hythe.oci.digest import Digest
from hythe.oci.manifest import OCI_INDEX, Index
from hythe.registry.referrers import MAX_PAGE_SIZE
from hythe.registry.routes.http import Headers, Request, Response, json_response
from hythe.registry.routes.pages import next_link, page_size
from hythe.registry.service import RegistryServices


async def list_referrers(registry: RegistryServices, request: Request) -> Response:
    """List the referrers of a manifest as an index (specification, "Listing Referrers")."""
    subject = Digest.parse(request.rest)
    artifact_type = request.parameter("artifactType") or None
    size = page_size(request)
    after = request.parameter("last") or ""
    page = await registry.referrers.of(request.actor, request.repository, subject, artifact_type, after, size)
    headers: Headers = []
    if page.more:
        headers += next_link(request, page.descriptors[-1].digest, min(size or MAX_PAGE_SIZE, MAX_PAGE_SIZE))
    if artifact_type is not None:
        headers.append((b"oci-filters-applied", b"artifactType"))
    return json_response(Index(2, OCI_INDEX, page.descriptors), OCI_INDEX, headers)
