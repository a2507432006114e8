"""Repositories to look at: a namespace's list, one repository with its tags, one image."""

from urllib.parse import quote

from starlette.responses import Response

from hythe.builds.build import Build
from hythe.builds.sql.builds import BuildFilter
from hythe.builds.status import BuildStatus
from hythe.hub.errors import NotFound
from hythe.hub.image import Image
from hythe.hub.page import Paging
from hythe.hub.repository import Repository
from hythe.oci.errors import InvalidDigest, InvalidReference
from hythe.oci.reference import DEFAULT_NAMESPACE, DEFAULT_TAG, Reference
from hythe.registry.access import Action
from hythe.web.routes.page_request import PageRequest
from hythe.web.routes.start import page_link, paging_of
from hythe.web.routes.tab import Tab, tabs
from hythe.web.templates import repository_address

RECENT_TAGS = 5
"""Tags on a repository's first page."""


async def namespace(visit: PageRequest) -> Response:
    """List what the visitor sees of a namespace; a short name (``centos``) leads to its repository."""
    name = visit.request.path_params["namespace"]
    hub = visit.site.hub
    try:
        found = await hub.repositories.in_namespace(visit.actor, name, paging_of(visit))
    except NotFound:
        official = await hub.repositories.get(visit.actor, name)
        return visit.redirect(repository_address(official))
    return visit.page(
        "namespace.html",
        namespace=name,
        found=found,
        official=name == DEFAULT_NAMESPACE,
        own=name == visit.name,
        page_link=page_link(f"/{quote(name)}"),
    )


async def repository(visit: PageRequest) -> Response:
    """Show a repository, or one image of it when the address names a tag or digest (``/NAME:TAG``)."""
    path = visit.request.url.path
    if path.endswith("/"):
        return visit.redirect(path.rstrip("/"))
    reference = _reference(visit.request.path_params["reference"])
    found = await visit.site.hub.repositories.get(visit.actor, reference.repository)
    if reference.tag or reference.digest:
        return await _image_page(visit, found, reference)
    if path != repository_address(found):
        return visit.redirect(repository_address(found))
    latest = await visit.site.hub.tags.list(visit.actor, found.full_name, Paging(1, RECENT_TAGS))
    return visit.page(
        "repository.html",
        repository=found,
        latest=latest,
        has_latest=await _has_latest(visit, found),
        may_write=await visit.site.hub.repositories.may_write(visit.actor, found.full_name),
        source=await _source_of(visit, found) if found.built else "",
        last_build=await _last_build(visit, found) if found.built else None,
        dockerfile=await _last_build(visit, found, BuildStatus.SUCCEEDED) if found.built else None,
        tabs=await repository_tabs(visit, found, repository_address(found)),
    )


async def _source_of(visit: PageRequest, found: Repository) -> str:
    return (await visit.site.builds.configurations.get(visit.actor, found.full_name)).source.url


async def _last_build(visit: PageRequest, found: Repository, status: BuildStatus | None = None) -> Build | None:
    wanted = BuildFilter(repository=found.full_name, status=status.value if status else "", limit=1)
    return next(iter(await visit.site.builds.builds.listed(visit.actor, wanted)), None)


async def elsewhere(visit: PageRequest) -> Response:
    """Lead from where Docker Hub has a repository's page to where it is here."""
    reference = _reference(visit.request.path_params["reference"])
    return visit.redirect(repository_address(await visit.site.hub.repositories.get(visit.actor, reference.repository)))


async def _has_latest(visit: PageRequest, found: Repository) -> bool:
    try:
        await visit.site.hub.tags.get(visit.actor, found.full_name, DEFAULT_TAG)
    except NotFound:
        return False
    return True


def _reference(text: str) -> Reference:
    """Return what an address names. Raises NotFound."""
    try:
        return Reference.parse(f"hub.invalid/{text.strip('/')}")
    except (InvalidReference, InvalidDigest) as error:
        raise NotFound(str(error)) from error


async def repository_tabs(visit: PageRequest, found: Repository, current: str) -> tuple[Tab, ...]:
    """Return the way between the pages of a repository, as far as they are for the visitor."""
    own = repository_address(found)
    pages = [(own, "Overview"), (f"{own}/-/tags", "Tags")]
    if await visit.site.builds.configurations.exists(visit.actor, found.full_name):
        pages.append((f"{own}/-/builds", "Builds"))
    if await visit.site.hub.repositories.may_write(visit.actor, found.full_name):
        pages.append((f"{own}/-/settings", "Settings"))
    return tabs(current, *pages)


async def _image_page(visit: PageRequest, found: Repository, reference: Reference) -> Response:
    target = reference.digest or reference.tag or ""
    moves = await visit.site.hub.tags.history(visit.actor, found.full_name, reference.tag) if reference.tag else ()
    restorable = await may_restore(visit, found)
    image: Image | None = None
    try:
        image = await visit.site.hub.images.get(visit.actor, found.full_name, target)
    except NotFound:
        # A tag that was taken away still has its history, from which it can be had again.
        if not (moves and restorable):
            raise
    return visit.page(
        "image.html",
        repository=found,
        image=image,
        moves=moves,
        suffix=f"@{reference.digest}" if reference.digest else f":{reference.tag}",
        tag=reference.tag,
        may_restore=restorable,
        may_delete=await visit.site.hub.access.may(visit.actor, found.full_name, Action.DELETE),
        tabs=await repository_tabs(visit, found, f"{repository_address(found)}/-/tags"),
    )


async def may_restore(visit: PageRequest, found: Repository) -> bool:
    """Whether the visitor may let tags point again where they did; with Trusted Builds builds alone move them."""
    return not found.built and await visit.site.hub.repositories.may_write(visit.actor, found.full_name)


async def repository_of(visit: PageRequest) -> Repository:
    """Return the repository that the address names. Raises NotFound."""
    name = _reference(visit.request.path_params["repository"]).repository
    return await visit.site.hub.repositories.get(visit.actor, name)
