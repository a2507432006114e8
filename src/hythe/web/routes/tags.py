"""A repository's tags: listed, taken away, and set back to where they were."""

from starlette.responses import Response

from hythe.hub.errors import NotFound
from hythe.hub.repository import Repository
from hythe.oci.digest import Digest
from hythe.oci.errors import InvalidDigest
from hythe.registry.access import Action
from hythe.web.notices import Notice
from hythe.web.routes.page_request import PageRequest
from hythe.web.routes.repositories import may_restore, repository_of, repository_tabs
from hythe.web.routes.start import page_link, paging_of
from hythe.web.templates import repository_address


async def tags(visit: PageRequest) -> Response:
    """List all tags of a repository."""
    found = await repository_of(visit)
    query = visit.request.query_params.get("q", "").strip()[:128]
    page = await visit.site.hub.tags.list(visit.actor, found.full_name, paging_of(visit), query)
    address = _list_address(found)
    return visit.page(
        "tags.html",
        repository=found,
        page=page,
        part=query,
        page_link=page_link(address, q=query),
        tabs=await repository_tabs(visit, found, address),
    )


async def delete_tag(visit: PageRequest) -> Response:
    """Ask, and take the tag away."""
    found = await repository_of(visit)
    await visit.site.hub.access.require_repository(visit.actor, found.full_name, Action.DELETE)
    tag = await visit.site.hub.tags.get(visit.actor, found.full_name, visit.request.path_params["tag"])
    if visit.request.method == "POST":
        await visit.form()
        await visit.site.hub.tags.delete(visit.actor, found.full_name, tag.name)
        left = f"{repository_address(found)}:{tag.name}" if await may_restore(visit, found) else _list_address(found)
        return visit.redirect(left, Notice.TAG_DELETED)
    own_tabs = await repository_tabs(visit, found, _list_address(found))
    return visit.page("tag-delete.html", repository=found, tag=tag, tabs=own_tabs)


async def restore_tag(visit: PageRequest) -> Response:
    """Let a tag point again where it once did."""
    found = await repository_of(visit)
    tag = visit.request.path_params["tag"]
    form = await visit.form()
    try:
        digest = Digest.parse(form["digest"])
    except InvalidDigest as error:
        raise NotFound(str(error)) from error
    await visit.site.hub.tags.restore(visit.actor, found.full_name, tag, digest)
    return visit.redirect(f"{repository_address(found)}:{tag}", Notice.TAG_RESTORED)


def _list_address(found: Repository) -> str:
    return f"{repository_address(found)}/-/tags"
