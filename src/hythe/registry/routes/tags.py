"""``/v2/NAME/tags/list``."""

from hythe.registry.routes.http import Request, Response, json_response
from hythe.registry.routes.pages import next_link, page_size
from hythe.registry.service import RegistryServices
from hythe.registry.tags import MAX_PAGE_SIZE


async def list_tags(registry: RegistryServices, request: Request) -> Response:
    """List the tags, or a page of them (specification, "Listing Tags")."""
    size = page_size(request)
    after = request.parameter("last") or ""
    page = await registry.contents.tags(request.actor, request.repository, after, size)
    link = next_link(request, page.names[-1], min(size or MAX_PAGE_SIZE, MAX_PAGE_SIZE)) if page.more else ()
    return json_response({"name": request.name, "tags": page.names}, headers=link)
