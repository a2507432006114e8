"""The tags of a repository: list, delete and restore."""

from starlette.responses import Response

from hythe.hub.access.actions import HubAction
from hythe.hub.errors import NotFound
from hythe.hub.repositories.repository import Repository
from hythe.oci.digest import Digest
from hythe.oci.errors import InvalidDigest
from hythe.web.flashes import Flash
from hythe.web.routes.navigation import page_link, paging_of
from hythe.web.routes.page_request import PageRequest
from hythe.web.routes.repositories import may_restore, repository_of, repository_tabs
from hythe.web.templates import repository_address


async def tags(page: PageRequest) -> Response:
    """List all tags of a repository."""
    repository = await repository_of(page)
    query = page.request.query_params.get("q", "").strip()[:128]
    listing = await page.site.hub.tags.list(page.actor, repository.full_name, paging_of(page), query)
    address = _list_address(repository)
    return page.render(
        "tags.html",
        repository=repository,
        listing=listing,
        part=query,
        page_link=page_link(address, q=query),
        tabs=await repository_tabs(page, repository, address),
    )


async def delete_tag(page: PageRequest) -> Response:
    """Ask for confirmation, or delete the tag."""
    repository = await repository_of(page)
    await page.site.hub.access.require_repository(page.actor, repository.full_name, HubAction.DELETE_TAG)
    tag = await page.site.hub.tags.get(page.actor, repository.full_name, page.request.path_params["tag"])
    if page.request.method == "POST":
        await page.form()
        await page.site.hub.tags.delete(page.actor, repository.full_name, tag.name)
        target = (
            f"{repository_address(repository)}:{tag.name}"
            if await may_restore(page, repository)
            else _list_address(repository)
        )
        return page.redirect(target, Flash.TAG_DELETED)
    own_tabs = await repository_tabs(page, repository, _list_address(repository))
    return page.render("tag-delete.html", repository=repository, tag=tag, tabs=own_tabs)


async def restore_tag(page: PageRequest) -> Response:
    """Restore a tag to a digest from its history."""
    repository = await repository_of(page)
    tag = page.request.path_params["tag"]
    form = await page.form()
    try:
        digest = Digest.parse(form["digest"])
    except InvalidDigest as error:
        raise NotFound(str(error)) from error
    await page.site.hub.tags.restore(page.actor, repository.full_name, tag, digest)
    return page.redirect(f"{repository_address(repository)}:{tag}", Flash.TAG_RESTORED)


def _list_address(repository: Repository) -> str:
    return f"{repository_address(repository)}/-/tags"
