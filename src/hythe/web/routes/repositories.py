"""Pages that show repositories: those of a namespace, one with its tags, one image."""

from collections.abc import Sequence
from urllib.parse import quote

from starlette.responses import Response

from hythe.builds.build import Build
from hythe.builds.sql.builds import BuildFilter
from hythe.builds.status import BuildStatus
from hythe.hub.access.actions import HubAction
from hythe.hub.accounts.namespaces import NamespaceKind
from hythe.hub.errors import NotFound
from hythe.hub.page import Paging
from hythe.hub.repositories.image import ImageDetails
from hythe.hub.repositories.repository import Repository
from hythe.hub.repositories.tag import Tag
from hythe.oci.errors import InvalidDigest, InvalidReference
from hythe.oci.reference import DEFAULT_NAMESPACE, DEFAULT_TAG, Reference
from hythe.web.routes.navigation import Tab, page_link, paging_of, tabs
from hythe.web.routes.organizations import organization_tabs
from hythe.web.routes.page_request import PageRequest
from hythe.web.templates import repository_address

RECENT_TAGS = 5
"""Tags on a repository's overview."""


async def namespace(page: PageRequest) -> Response:
    """List the repositories of a namespace; redirect a short name (``centos``) to its repository."""
    name = page.request.path_params["namespace"]
    hub = page.site.hub
    try:
        listing = await hub.repositories.in_namespace(page.actor, name, paging_of(page))
    except NotFound:
        official = await hub.repositories.get(page.actor, name)
        return page.redirect(repository_address(official))
    context = await hub.access.context(page.actor, f"{name}/")
    organization = context.namespace is NamespaceKind.ORGANIZATION
    return page.render(
        "namespace.html",
        namespace=name,
        listing=listing,
        official=name == DEFAULT_NAMESPACE,
        own=name == page.name,
        organization=organization,
        may_create=await hub.access.may(page.actor, f"{name}/", HubAction.CREATE_REPOSITORY),
        needs_second_factor=context.needs_second_factor,
        page_link=page_link(f"/{quote(name)}"),
        tabs=await organization_tabs(page, name, "") if organization and context.member else (),
    )


async def overview(page: PageRequest) -> Response:
    """Show a repository, or one image if the address contains a tag or digest (``/NAME:TAG``)."""
    path = page.request.url.path
    if path.endswith("/"):
        return page.redirect(path.rstrip("/"))
    reference = _reference(page.request.path_params["reference"])
    repository = await page.site.hub.repositories.get(page.actor, reference.repository)
    if reference.tag or reference.digest:
        return await _image_page(page, repository, reference)
    if path != repository_address(repository):
        return page.redirect(repository_address(repository))
    context = await page.site.hub.access.context(page.actor, repository.full_name)
    latest = await page.site.hub.tags.list(page.actor, repository.full_name, Paging(1, RECENT_TAGS))
    return page.render(
        "repository.html",
        repository=repository,
        description=await page.site.hub.descriptions.of(repository),
        latest=latest,
        taken_down=context.taken_down,
        may_report=page.signed_in and context.namespace_role is None,
        has_latest=await _has_latest(page, repository, latest.items),
        may_write=await page.site.hub.repositories.may_write(page.actor, repository.full_name),
        source=await _source_of(page, repository) if repository.built else "",
        last_build=await _last_build(page, repository) if repository.built else None,
        dockerfile=await _last_build(page, repository, BuildStatus.SUCCEEDED) if repository.built else None,
        tabs=await repository_tabs(page, repository, repository_address(repository)),
    )


async def _source_of(page: PageRequest, repository: Repository) -> str:
    return (await page.site.builds.configurations.get(page.actor, repository.full_name)).source.url


async def _last_build(page: PageRequest, repository: Repository, status: BuildStatus | None = None) -> Build | None:
    wanted = BuildFilter(repository=repository.full_name, status=status.value if status else "", limit=1)
    return next(iter(await page.site.builds.builds.find(page.actor, wanted)), None)


async def redirect_docker_hub(page: PageRequest) -> Response:
    """Redirect from the address that a repository has on Docker Hub."""
    reference = _reference(page.request.path_params["reference"])
    return page.redirect(repository_address(await page.site.hub.repositories.get(page.actor, reference.repository)))


async def _has_latest(page: PageRequest, repository: Repository, listed: Sequence[Tag]) -> bool:
    if any(tag.name == DEFAULT_TAG for tag in listed):
        return True
    try:
        await page.site.hub.tags.get(page.actor, repository.full_name, DEFAULT_TAG)
    except NotFound:
        return False
    return True


def _reference(text: str) -> Reference:
    """Return the reference in an address. Raises NotFound if it is invalid."""
    try:
        return Reference.parse(f"hub.invalid/{text.strip('/')}")
    except (InvalidReference, InvalidDigest) as error:
        raise NotFound(str(error)) from error


async def repository_tabs(page: PageRequest, repository: Repository, current: str) -> tuple[Tab, ...]:
    """Return the tabs of a repository that the user has access to."""
    own = repository_address(repository)
    pages = [(own, "Overview"), (f"{own}/-/tags", "Tags")]
    if repository.built:
        pages.append((f"{own}/-/builds", "Builds"))
    if await page.site.hub.repositories.may_write(page.actor, repository.full_name):
        pages.append((f"{own}/-/settings", "Settings"))
    if await page.site.hub.access.may(page.actor, repository.full_name, HubAction.VIEW_COLLABORATORS):
        pages.append((f"{own}/-/collaborators", "Collaborators"))
    return tabs(current, *pages)


async def _image_page(page: PageRequest, repository: Repository, reference: Reference) -> Response:
    target = reference.digest or reference.tag or ""
    moves = await page.site.hub.tags.history(page.actor, repository.full_name, reference.tag) if reference.tag else ()
    restorable = await may_restore(page, repository)
    image: ImageDetails | None = None
    try:
        image = await page.site.hub.images.get(page.actor, repository.full_name, target)
    except NotFound:
        # A deleted tag still has a history, from which it can be restored.
        if not (moves and restorable):
            raise
    return page.render(
        "image.html",
        repository=repository,
        image=image,
        moves=moves,
        suffix=f"@{reference.digest}" if reference.digest else f":{reference.tag}",
        tag=reference.tag,
        may_restore=restorable,
        may_delete=await page.site.hub.access.may(page.actor, repository.full_name, HubAction.DELETE_TAG),
        tabs=await repository_tabs(page, repository, f"{repository_address(repository)}/-/tags"),
    )


async def may_restore(page: PageRequest, repository: Repository) -> bool:
    """Whether the user may restore tags; with Trusted Builds, only builds move tags."""
    return not repository.built and await page.site.hub.repositories.may_write(page.actor, repository.full_name)


async def repository_of(page: PageRequest) -> Repository:
    """Return the repository in the address. Raises NotFound."""
    name = _reference(page.request.path_params["repository"]).repository
    return await page.site.hub.repositories.get(page.actor, name)
