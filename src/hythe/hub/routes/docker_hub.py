"""The part of Docker Hub's HTTP API that tools still use: login, organizations, repositories, tags, search,
below ``/v2/``.

``user``, ``users``, ``auth``, ``repositories`` and ``search`` cannot be namespaces, and of the paths below ``orgs``
only those that the registry has not belong to this API, so no path of the registry is hidden.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import urlencode

import msgspec
from msgspec import Meta
from starlette.responses import Response

from hythe.hub.access.actions import HubAction
from hythe.hub.errors import SecondFactorNeeded
from hythe.hub.organizations.organization import Member
from hythe.hub.page import Page
from hythe.hub.repositories.repository import Repository
from hythe.hub.repositories.tag import Tag, TagImage
from hythe.hub.routes.endpoint import ApiRequest, Endpoint, Nothing, PageQuery
from hythe.hub.routes.problem_details import describe_error
from hythe.hub.routes.repositories import repository_path
from hythe.hub.routes.tags import tag_path
from hythe.hub.service import HubServices

T = TypeVar("T")
V = TypeVar("V")

PREFIXES = ("/v2/user/orgs", "/v2/users/", "/v2/auth/", "/v2/repositories/", "/v2/search/")
"""The hub handles paths with these prefixes, not the registry."""

_OF_ORGANIZATION = re.compile("/v2/orgs/(?:[^/]+|(?!(?:manifests|blobs|tags|referrers)/)[^/]+/members)/?")
"""The paths of organizations. There may be a top-level repository ``orgs``, with a tag ``members``."""


def is_docker_hub_path(path: str) -> bool:
    """Return whether the hub handles a path below ``/v2/``, not the registry."""
    return path.startswith(PREFIXES) or _OF_ORGANIZATION.fullmatch(path) is not None


class Login(msgspec.Struct, frozen=True):
    """A user name with a password or personal access token."""

    username: str
    password: str


class Secret(msgspec.Struct, frozen=True):
    """The same for the newer address."""

    identifier: str
    secret: str


class SecondFactorLogin(msgspec.Struct, frozen=True):
    """The token of the failed login, and a code of the account's app or a recovery code."""

    login_2fa_token: str
    code: str


class LoginReply(msgspec.Struct, frozen=True):
    """Clients send ``token`` as ``Authorization: Bearer`` or ``JWT``."""

    token: str
    refresh_token: str = ""


class AuthReply(msgspec.Struct, frozen=True):
    """The same for the newer address."""

    access_token: str


class HubQuery(PageQuery, frozen=True):
    """The requested page; ``query`` is the text to search for, ``name`` a part of a tag's name."""

    query: str = ""
    name: Annotated[str, Meta(max_length=128)] = ""


class DockerHubPage(msgspec.Struct, Generic[T], frozen=True):
    """A page with the URLs of the next and previous page; ``count`` stops at MAX_COUNTED."""

    count: int
    next: str | None
    previous: str | None
    results: tuple[T, ...]


class HubRepository(msgspec.Struct, frozen=True):
    """A repository in the form of Docker Hub's API."""

    user: str
    namespace: str
    name: str
    description: str
    full_description: str
    is_private: bool
    star_count: int
    pull_count: int
    date_registered: datetime
    last_updated: datetime | None
    repository_type: str = "image"
    status: int = 1


class HubImage(msgspec.Struct, frozen=True):
    """One platform of a tag."""

    os: str
    architecture: str
    variant: str | None
    digest: str
    size: int
    status: str = "active"


class HubTag(msgspec.Struct, frozen=True):
    """A tag in the form of Docker Hub's API."""

    name: str
    digest: str
    full_size: int
    last_updated: datetime
    tag_last_pushed: datetime
    last_updater_username: str
    media_type: str
    images: tuple[HubImage, ...]
    tag_status: str = "active"


class HubOrganization(msgspec.Struct, frozen=True):
    """An organization in the form of Docker Hub's API. Hythe has no full names, companies and pictures."""

    id: str
    orgname: str
    full_name: str
    date_joined: datetime
    company: str = ""
    location: str = ""
    type: str = "Organization"
    gravatar_email: str = ""
    gravatar_url: str = ""
    profile_url: str = ""


class HubMember(msgspec.Struct, frozen=True):
    """A member of an organization in the form of Docker Hub's API. E-mail addresses are not shown."""

    id: str
    username: str
    full_name: str
    role: str
    date_joined: datetime
    email: str = ""
    type: str = "User"
    is_guest: bool = False


class HubFound(msgspec.Struct, frozen=True):
    """A search result."""

    repo_name: str
    short_description: str
    star_count: int
    pull_count: int
    is_official: bool
    is_automated: bool


async def _log_in(hub: HubServices, call: ApiRequest[Login, Nothing]) -> LoginReply:
    return LoginReply(await hub.sessions.bearer(call.body.username, call.body.password, call.address, call.user_agent))


async def _authorize(hub: HubServices, call: ApiRequest[Secret, Nothing]) -> AuthReply:
    return AuthReply(await hub.sessions.bearer(call.body.identifier, call.body.secret, call.address, call.user_agent))


async def _log_in_by_code(hub: HubServices, call: ApiRequest[SecondFactorLogin, Nothing]) -> LoginReply:
    actor = await hub.pending_sign_ins.by_code(call.body.login_2fa_token, call.body.code, call.address)
    return LoginReply((await hub.sessions.start(actor, call.address, call.user_agent)).token)


async def _organizations(hub: HubServices, call: ApiRequest[Nothing, HubQuery]) -> DockerHubPage[HubOrganization]:
    page = await hub.organizations.of_actor(call.actor, call.query.paging())
    return _envelope(call, page, lambda found: _organization(found.organization, found.joined_at))


async def _get_organization(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> HubOrganization:
    found = await hub.organizations.get(call.actor, call.path["organization"])
    return _organization(found.name, found.created_at)


async def _members(hub: HubServices, call: ApiRequest[Nothing, HubQuery]) -> DockerHubPage[HubMember]:
    page = await hub.members.list(call.actor, call.path["organization"], call.query.paging())
    return _envelope(call, page, _member)


async def _repositories(hub: HubServices, call: ApiRequest[Nothing, HubQuery]) -> DockerHubPage[HubRepository]:
    page = await hub.repositories.in_namespace(call.actor, call.path["namespace"], call.query.paging())
    return _envelope(call, page, _repository)


async def _get(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> HubRepository:
    return _repository(await hub.repositories.get(call.actor, repository_path(call)))


async def _delete(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> None:
    await hub.repositories.delete(call.actor, repository_path(call), call.unchanged)


async def _tags(hub: HubServices, call: ApiRequest[Nothing, HubQuery]) -> DockerHubPage[HubTag]:
    page = await hub.tags.list(call.actor, repository_path(call), call.query.paging(), call.query.name)
    return _envelope(call, page, _tag)


async def _get_tag(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> HubTag:
    return _tag(await hub.tags.get(call.actor, repository_path(call), tag_path(call)))


async def _delete_tag(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> None:
    await hub.tags.delete(call.actor, repository_path(call), tag_path(call))


async def _search(hub: HubServices, call: ApiRequest[Nothing, HubQuery]) -> DockerHubPage[HubFound]:
    page = await hub.search.find(call.actor, call.query.query, call.query.paging())
    return _envelope(call, page, _found)


def _envelope(call: ApiRequest[Any, HubQuery], page: Page[V], shown: Callable[[V], T]) -> DockerHubPage[T]:
    def address(number: int, cursor: str) -> str:
        """The cursor finds the page; the number is for tools that read it."""
        query = msgspec.structs.asdict(call.query) | {"page": number, "cursor": cursor}
        return f"{call.url}?{urlencode({name: value for name, value in query.items() if value})}"

    following = address(call.query.page + 1, page.next) if page.next else None
    before = address(max(call.query.page - 1, 1), page.previous) if page.previous else None
    return DockerHubPage(page.total, following, before, tuple(shown(item) for item in page.items))


def _repository(found: Repository) -> HubRepository:
    return HubRepository(
        found.namespace,
        found.namespace,
        found.name,
        found.description,
        found.full_description,
        found.private,
        found.stars,
        found.pulls,
        found.created_at,
        found.pushed_at,
    )


def _organization(name: str, since: datetime) -> HubOrganization:
    return HubOrganization(name, name, name, since)


def _member(found: Member) -> HubMember:
    return HubMember(found.name, found.name, found.name, found.role.value.capitalize(), found.joined_at)


def _tag(tag: Tag) -> HubTag:
    images = tuple(_image(image) for image in tag.images)
    at, by = tag.pushed_at, tag.pushed_by
    return HubTag(tag.name, tag.digest, tag.size, at, at, by, tag.media_type, images)


def _image(image: TagImage) -> HubImage:
    system, architecture, variant = (*image.platform.split("/"), "", "", "")[:3]
    return HubImage(system, architecture, variant or None, image.digest, image.size)


def _found(found: Repository) -> HubFound:
    return HubFound(found.short_name, found.description, found.stars, found.pulls, found.official, found.built)


class HubFailure(msgspec.Struct, frozen=True):
    """An error: Docker Hub sends ``message`` for most, and ``detail`` for failed logins. Tools read either.

    ``login_2fa_token`` continues a login that needs a second factor at ``/v2/users/2fa-login``.
    """

    message: str
    detail: str
    errinfo: dict[str, str] = {}
    login_2fa_token: str | msgspec.UnsetType = msgspec.UNSET


def failure_response(error: Exception) -> Response:
    """Return the response for an error in the form of Docker Hub's API."""
    problem, headers = describe_error(error)
    detail = f"{problem.detail}: {problem.hint}" if problem.hint else problem.detail
    state = error.state if isinstance(error, SecondFactorNeeded) else ""
    body = HubFailure(detail, detail, login_2fa_token=state or msgspec.UNSET)
    return Response(msgspec.json.encode(body), problem.status, headers, "application/json")


def _both(endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """Respond with and without a trailing slash, because tools send both; with it first, as names match slashes."""
    return tuple(replace(each, path=path, lenient=True) for each in endpoints for path in (each.path + "/", each.path))


_ONE = "/v2/repositories/{namespace}/{name:path}"

ENDPOINTS = _both(
    (
        Endpoint(
            "POST",
            "/v2/users/login",
            "Log in",
            _log_in,
            body=Login,
            reply=LoginReply,
            action=HubAction.SIGN_IN,
        ),
        Endpoint(
            "POST",
            "/v2/users/2fa-login",
            "Log in by a second factor",
            _log_in_by_code,
            body=SecondFactorLogin,
            reply=LoginReply,
            action=HubAction.SIGN_IN,
        ),
        Endpoint(
            "POST",
            "/v2/auth/token",
            "Log in",
            _authorize,
            body=Secret,
            reply=AuthReply,
            action=HubAction.SIGN_IN,
        ),
        Endpoint(
            "GET",
            "/v2/user/orgs",
            "List your organizations",
            _organizations,
            query=HubQuery,
            reply=DockerHubPage[HubOrganization],
            action=HubAction.VIEW_OWN_ORGANIZATIONS,
        ),
        Endpoint(
            "GET",
            "/v2/orgs/{organization}",
            "Get an organization",
            _get_organization,
            reply=HubOrganization,
            action=HubAction.VIEW_ORGANIZATION,
        ),
        Endpoint(
            "GET",
            "/v2/orgs/{organization}/members",
            "List the members of an organization",
            _members,
            query=HubQuery,
            reply=DockerHubPage[HubMember],
            action=HubAction.VIEW_MEMBERS,
        ),
        Endpoint(
            "GET",
            "/v2/search/repositories",
            "Search",
            _search,
            query=HubQuery,
            reply=DockerHubPage[HubFound],
            action=HubAction.BROWSE,
        ),
        Endpoint(
            "GET",
            "/v2/repositories/{namespace}",
            "List repositories",
            _repositories,
            query=HubQuery,
            reply=DockerHubPage[HubRepository],
            action=HubAction.BROWSE,
        ),
        Endpoint(
            "GET",
            _ONE,
            "Get a repository",
            _get,
            reply=HubRepository,
            action=HubAction.VIEW_REPOSITORY,
        ),
        Endpoint(
            "DELETE",
            _ONE,
            "Delete a repository",
            _delete,
            status=HTTPStatus.ACCEPTED,
            compares=True,
            action=HubAction.DELETE_REPOSITORY,
        ),
        Endpoint(
            "GET",
            f"{_ONE}/tags",
            "List tags",
            _tags,
            query=HubQuery,
            reply=DockerHubPage[HubTag],
            action=HubAction.VIEW_REPOSITORY,
        ),
        Endpoint(
            "GET",
            f"{_ONE}/tags/{{tag}}",
            "Get a tag",
            _get_tag,
            reply=HubTag,
            action=HubAction.VIEW_REPOSITORY,
        ),
        Endpoint(
            "DELETE",
            f"{_ONE}/tags/{{tag}}",
            "Delete a tag",
            _delete_tag,
            status=HTTPStatus.NO_CONTENT,
            action=HubAction.DELETE_TAG,
        ),
    )
)
"""Not in the OpenAPI document: tools that use these endpoints know Docker Hub's documentation."""
