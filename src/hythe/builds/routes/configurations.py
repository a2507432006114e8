"""The JSON API of build configurations."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated

import msgspec
from msgspec import Meta

from hythe.builds.configuration import (
    BuildConfiguration,
    BuildSource,
    ConfigurationChanges,
    LinkedAccountId,
    NewBuildConfiguration,
    Options,
)
from hythe.builds.docker_hub import DockerHubSettings, from_docker_hub
from hythe.builds.routes.binding import BuildsEndpoint, bound_endpoints
from hythe.builds.rules import Rule, RulePreview
from hythe.builds.service import BuildsServices
from hythe.builds.sql.configurations import TriggerCall
from hythe.forges.source_ref import SourceRef
from hythe.hub.access.actions import HubAction
from hythe.hub.accounts.user import Visibility
from hythe.hub.actor import HubActor
from hythe.hub.errors import NotFound
from hythe.hub.repositories.repositories import NewRepository
from hythe.hub.routes.endpoint import ApiRequest, Endpoint, Nothing
from hythe.hub.routes.repositories import repository_path
from hythe.hub.service import HubServices


class BuildConfigurationBody(NewBuildConfiguration, frozen=True, kw_only=True):
    """A new build configuration; a repository that does not exist yet is created with this visibility."""

    visibility: Visibility | None = None


class DockerHubBody(DockerHubSettings, frozen=True, kw_only=True):
    """Docker Hub's automated build settings, and the linked account that installs webhooks."""

    linked_account_id: LinkedAccountId | None = None
    visibility: Visibility | None = None


class BuildConfigurationReply(msgspec.Struct, frozen=True):
    """A build configuration. ``has_credentials``: it has credentials for the source, which are never returned."""

    repository: str
    source: BuildSource
    rules: tuple[Rule, ...]
    options: Options
    has_credentials: bool
    active: bool
    failing: bool
    created_at: datetime
    created_by: str


class SecretBody(msgspec.Struct, frozen=True):
    """The value of a build secret."""

    value: Annotated[str, Meta(min_length=1, max_length=64 * 1024)]


class SecretsReply(msgspec.Struct, frozen=True):
    """The names of the build secrets; their values are never returned."""

    names: tuple[str, ...]


class TriggerReply(msgspec.Struct, frozen=True):
    """The path of the trigger URL, and its last ten calls."""

    path: str
    calls: tuple[TriggerCall, ...]


class PreviewBody(msgspec.Struct, frozen=True):
    """Rules, and the branches and tags to try them with."""

    rules: Annotated[tuple[Rule, ...], Meta(max_length=50)]
    refs: Annotated[tuple[SourceRef, ...], Meta(max_length=1000)]


class PreviewReply(msgspec.Struct, frozen=True):
    """Which branches and tags the rules would build, as which Docker tags."""

    lines: tuple[RulePreview, ...]


async def _create(
    builds: BuildsServices, hub: HubServices, call: ApiRequest[BuildConfigurationBody, Nothing]
) -> BuildConfigurationReply:
    return _reply(await configure(builds, hub, call.actor, repository_path(call), call.body, call.body.visibility))


async def _import(
    builds: BuildsServices, hub: HubServices, call: ApiRequest[DockerHubBody, Nothing]
) -> BuildConfigurationReply:
    new = from_docker_hub(call.body, linked_account_id=call.body.linked_account_id)
    return _reply(await configure(builds, hub, call.actor, repository_path(call), new, call.body.visibility))


async def configure(
    builds: BuildsServices,
    hub: HubServices,
    actor: HubActor,
    repository: str,
    new: NewBuildConfiguration,
    visibility: Visibility | None,
) -> BuildConfiguration:
    """Create a build configuration, and its repository if there is none. An invalid one creates no repository.

    Raises InvalidBuildConfiguration, BuildConflict, Taken, Invalid, SignInNeeded, Refused.
    """
    await builds.configurations.check(actor, new)
    try:
        await hub.repositories.get(actor, repository)
    except NotFound:
        namespace, _, name = repository.partition("/")
        await hub.repositories.create(actor, NewRepository(namespace, name, visibility))
    return await builds.configurations.create(actor, repository, new)


async def _get(
    builds: BuildsServices, _hub: HubServices, call: ApiRequest[Nothing, Nothing]
) -> BuildConfigurationReply:
    return _reply(await builds.configurations.get(call.actor, repository_path(call)))


async def _change(
    builds: BuildsServices, _hub: HubServices, call: ApiRequest[ConfigurationChanges, Nothing]
) -> BuildConfigurationReply:
    return _reply(await builds.configurations.change(call.actor, repository_path(call), call.body))


async def _delete(builds: BuildsServices, _hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> None:
    await builds.configurations.remove(call.actor, repository_path(call))


async def _secrets(builds: BuildsServices, _hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> SecretsReply:
    return SecretsReply(tuple(await builds.configurations.secret_names(call.actor, repository_path(call))))


async def _set_secret(builds: BuildsServices, _hub: HubServices, call: ApiRequest[SecretBody, Nothing]) -> None:
    await builds.configurations.set_secret(call.actor, repository_path(call), call.path["secret"], call.body.value)


async def _remove_secret(builds: BuildsServices, _hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> None:
    await builds.configurations.remove_secret(call.actor, repository_path(call), call.path["secret"])


async def _trigger(builds: BuildsServices, _hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> TriggerReply:
    return await _trigger_of(builds, call, rotate=False)


async def _rotate_trigger(
    builds: BuildsServices, _hub: HubServices, call: ApiRequest[Nothing, Nothing]
) -> TriggerReply:
    return await _trigger_of(builds, call, rotate=True)


async def _trigger_of(builds: BuildsServices, call: ApiRequest[Nothing, Nothing], *, rotate: bool) -> TriggerReply:
    repository = repository_path(call)
    token = await builds.builds.trigger_token(call.actor, repository, rotate=rotate)
    trigger_calls = await builds.builds.trigger_calls(call.actor, repository)
    return TriggerReply(f"/u/{repository}/trigger/{token}/", tuple(trigger_calls))


async def _preview(builds: BuildsServices, _hub: HubServices, call: ApiRequest[PreviewBody, Nothing]) -> PreviewReply:
    return PreviewReply(tuple(await builds.configurations.preview(call.actor, call.body.rules, call.body.refs)))


def _reply(configuration: BuildConfiguration) -> BuildConfigurationReply:
    return msgspec.convert(configuration, BuildConfigurationReply, from_attributes=True)


_CONFIGURATION = "/api/v1/repositories/{namespace}/{name:path}/build-configuration"

TABLE = (
    BuildsEndpoint(
        "POST",
        "/api/v1/build-preview",
        "Preview what rules would build",
        _preview,
        action=HubAction.BROWSE,
        body=PreviewBody,
        reply=PreviewReply,
    ),
    BuildsEndpoint(
        "GET",
        f"{_CONFIGURATION}/trigger",
        "Show the trigger URL",
        _trigger,
        action=HubAction.VIEW_BUILD_SETTINGS,
        reply=TriggerReply,
    ),
    BuildsEndpoint(
        "POST",
        f"{_CONFIGURATION}/trigger",
        "Replace the trigger URL",
        _rotate_trigger,
        action=HubAction.CONFIGURE_BUILDS,
        reply=TriggerReply,
    ),
    BuildsEndpoint(
        "GET",
        f"{_CONFIGURATION}/secrets",
        "List the names of build secrets",
        _secrets,
        action=HubAction.VIEW_BUILD_SETTINGS,
        reply=SecretsReply,
    ),
    BuildsEndpoint(
        "PUT",
        f"{_CONFIGURATION}/secrets/{{secret}}",
        "Set a build secret",
        _set_secret,
        action=HubAction.CONFIGURE_BUILDS,
        body=SecretBody,
    ),
    BuildsEndpoint(
        "DELETE",
        f"{_CONFIGURATION}/secrets/{{secret}}",
        "Delete a build secret",
        _remove_secret,
        action=HubAction.CONFIGURE_BUILDS,
    ),
    BuildsEndpoint(
        "POST",
        f"{_CONFIGURATION}/docker-hub",
        "Create a build configuration from Docker Hub's settings",
        _import,
        action=HubAction.CONFIGURE_BUILDS,
        body=DockerHubBody,
        reply=BuildConfigurationReply,
        status=HTTPStatus.CREATED,
        lenient=True,  # Docker Hub's own settings have more fields
    ),
    BuildsEndpoint(
        "POST",
        _CONFIGURATION,
        "Create a build configuration",
        _create,
        action=HubAction.CONFIGURE_BUILDS,
        body=BuildConfigurationBody,
        reply=BuildConfigurationReply,
        status=HTTPStatus.CREATED,
    ),
    BuildsEndpoint(
        "GET",
        _CONFIGURATION,
        "Show the build configuration",
        _get,
        action=HubAction.VIEW_REPOSITORY,
        reply=BuildConfigurationReply,
    ),
    BuildsEndpoint(
        "PATCH",
        _CONFIGURATION,
        "Change the build configuration",
        _change,
        action=HubAction.CONFIGURE_BUILDS,
        body=ConfigurationChanges,
        reply=BuildConfigurationReply,
    ),
    BuildsEndpoint(
        "DELETE",
        _CONFIGURATION,
        "Delete the build configuration and its builds",
        _delete,
        action=HubAction.CONFIGURE_BUILDS,
    ),
)


def endpoints(builds: BuildsServices) -> list[Endpoint]:
    """Return the endpoints of build configurations."""
    return bound_endpoints(builds, TABLE)
