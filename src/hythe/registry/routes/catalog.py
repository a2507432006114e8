"""``/v2/`` and ``/v2/_catalog``."""

from hythe.registry.catalog import MAX_PAGE_SIZE
from hythe.registry.routes.http import Request, Response, json_response
from hythe.registry.routes.pages import next_link, page_size
from hythe.registry.service import RegistryServices


async def get_base(registry: RegistryServices, request: Request) -> Response:
    """Confirm the API version and the credentials (specification, "Determining Support")."""
    await registry.access.enter(request.actor)
    return json_response({})


async def list_repositories(registry: RegistryServices, request: Request) -> Response:
    """List the repositories that the actor may pull (Docker's extension of the protocol)."""
    size = page_size(request)
    page = await registry.catalog.names(request.actor, request.parameter("last") or "", size)
    link = next_link(request, page.names[-1], min(size or MAX_PAGE_SIZE, MAX_PAGE_SIZE)) if page.more else ()
    return json_response({"repositories": page.names}, headers=link)
