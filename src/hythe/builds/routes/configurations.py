"""Set-ups in the JSON API."""

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
from hythe.builds.docker_hub import DockerHubSettings, carried_over
from hythe.builds.routes.binding import bound
from hythe.builds.rules import Rule, RulePreview, SourceRef
from hythe.builds.service import BuildsServices
from hythe.builds.sql.configurations import TriggerCall
from hythe.hub.actor import HubActor
from hythe.hub.errors import NotFound
from hythe.hub.repositories import NewRepository
from hythe.hub.routes.endpoint import Call, Endpoint, Nothing
from hythe.hub.routes.repositories import repository_path
from hythe.hub.service import Hub
from hythe.hub.user import Visibility


class BuildConfigurationBody(NewBuildConfiguration, frozen=True, kw_only=True):
    """A new set-up; where the repository does not exist yet it is made, with this visibility."""

    visibility: Visibility | None = None


class DockerHubBody(DockerHubSettings, frozen=True, kw_only=True):
    """Settings of Docker Hub's automated builds, and the linked account by which webhooks are installed."""

    linked_account_id: LinkedAccountId | None = None
    visibility: Visibility | None = None


class BuildConfigurationReply(msgspec.Struct, frozen=True):
    """A repository's set-up. ``has_credentials``: some are kept for the source, which nobody is shown."""

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
    """A build secret's value."""

    value: Annotated[str, Meta(min_length=1, max_length=64 * 1024)]


class SecretsReply(msgspec.Struct, frozen=True):
    """The names of the build secrets; values are shown to nobody."""

    names: tuple[str, ...]


class TriggerReply(msgspec.Struct, frozen=True):
    """The trigger URL's path below the hub's address, and its last ten calls."""

    path: str
    calls: tuple[TriggerCall, ...]


class PreviewBody(msgspec.Struct, frozen=True):
    """Rules, and the branches and tags to try them on."""

    rules: Annotated[tuple[Rule, ...], Meta(max_length=50)]
    refs: Annotated[tuple[SourceRef, ...], Meta(max_length=1000)]


class PreviewReply(msgspec.Struct, frozen=True):
    """Which branches and tags would build as what."""

    lines: tuple[RulePreview, ...]


async def _create(
    builds: BuildsServices, hub: Hub, call: Call[BuildConfigurationBody, Nothing]
) -> BuildConfigurationReply:
    return _reply(await set_up(builds, hub, call.actor, repository_path(call), call.body, call.body.visibility))


async def _carry_over(builds: BuildsServices, hub: Hub, call: Call[DockerHubBody, Nothing]) -> BuildConfigurationReply:
    new = carried_over(call.body, linked_account_id=call.body.linked_account_id)
    return _reply(await set_up(builds, hub, call.actor, repository_path(call), new, call.body.visibility))


async def set_up(
    builds: BuildsServices,
    hub: Hub,
    actor: HubActor,
    repository: str,
    new: NewBuildConfiguration,
    visibility: Visibility | None,
) -> BuildConfiguration:
    """Set up builds, and make the repository where there is none; of a set-up that is refused no repository stays.

    Raises InvalidBuildConfiguration, Conflict, Taken, Invalid, SignInNeeded, Refused.
    """
    await builds.configurations.check(actor, new)
    try:
        await hub.repositories.get(actor, repository)
    except NotFound:
        namespace, _, name = repository.partition("/")
        await hub.repositories.create(actor, NewRepository(namespace, name, visibility))
    return await builds.configurations.create(actor, repository, new)


async def _get(builds: BuildsServices, _hub: Hub, call: Call[Nothing, Nothing]) -> BuildConfigurationReply:
    return _reply(await builds.configurations.get(call.actor, repository_path(call)))


async def _change(
    builds: BuildsServices, _hub: Hub, call: Call[ConfigurationChanges, Nothing]
) -> BuildConfigurationReply:
    return _reply(await builds.configurations.change(call.actor, repository_path(call), call.body))


async def _delete(builds: BuildsServices, _hub: Hub, call: Call[Nothing, Nothing]) -> None:
    await builds.configurations.remove(call.actor, repository_path(call))


async def _secrets(builds: BuildsServices, _hub: Hub, call: Call[Nothing, Nothing]) -> SecretsReply:
    return SecretsReply(tuple(await builds.configurations.secret_names(call.actor, repository_path(call))))


async def _set_secret(builds: BuildsServices, _hub: Hub, call: Call[SecretBody, Nothing]) -> None:
    await builds.configurations.set_secret(call.actor, repository_path(call), call.path["secret"], call.body.value)


async def _remove_secret(builds: BuildsServices, _hub: Hub, call: Call[Nothing, Nothing]) -> None:
    await builds.configurations.remove_secret(call.actor, repository_path(call), call.path["secret"])


async def _trigger(builds: BuildsServices, _hub: Hub, call: Call[Nothing, Nothing]) -> TriggerReply:
    return await _trigger_of(builds, call, anew=False)


async def _new_trigger(builds: BuildsServices, _hub: Hub, call: Call[Nothing, Nothing]) -> TriggerReply:
    return await _trigger_of(builds, call, anew=True)


async def _trigger_of(builds: BuildsServices, call: Call[Nothing, Nothing], *, anew: bool) -> TriggerReply:
    repository = repository_path(call)
    token = await builds.builds.trigger_token(call.actor, repository, anew=anew)
    calls = await builds.builds.trigger_calls(call.actor, repository)
    return TriggerReply(f"/u/{repository}/trigger/{token}/", tuple(calls))


async def _preview(builds: BuildsServices, _hub: Hub, call: Call[PreviewBody, Nothing]) -> PreviewReply:
    return PreviewReply(tuple(await builds.configurations.preview(call.actor, call.body.rules, call.body.refs)))


def _reply(configuration: BuildConfiguration) -> BuildConfigurationReply:
    return msgspec.convert(configuration, BuildConfigurationReply, from_attributes=True)


_SETUP = "/api/v1/repositories/{namespace}/{name:path}/build-configuration"
_NO_CONTENT = HTTPStatus.NO_CONTENT

TABLE = (
    (
        "POST",
        "/api/v1/build-preview",
        "Show what rules would build",
        _preview,
        PreviewBody,
        PreviewReply,
        HTTPStatus.OK,
    ),
    ("GET", f"{_SETUP}/trigger", "Show the trigger URL", _trigger, Nothing, TriggerReply, HTTPStatus.OK),
    ("POST", f"{_SETUP}/trigger", "Make the trigger URL anew", _new_trigger, Nothing, TriggerReply, HTTPStatus.OK),
    ("GET", f"{_SETUP}/secrets", "List build secrets' names", _secrets, Nothing, SecretsReply, HTTPStatus.OK),
    ("PUT", f"{_SETUP}/secrets/{{secret}}", "Keep a build secret", _set_secret, SecretBody, None, _NO_CONTENT),
    ("DELETE", f"{_SETUP}/secrets/{{secret}}", "Forget a build secret", _remove_secret, Nothing, None, _NO_CONTENT),
    (
        "POST",
        f"{_SETUP}/docker-hub",
        "Set up Trusted Builds from Docker Hub's settings",
        _carry_over,
        DockerHubBody,
        BuildConfigurationReply,
        HTTPStatus.CREATED,
    ),
    (
        "POST",
        _SETUP,
        "Set up Trusted Builds",
        _create,
        BuildConfigurationBody,
        BuildConfigurationReply,
        HTTPStatus.CREATED,
    ),
    ("GET", _SETUP, "Show the build set-up", _get, Nothing, BuildConfigurationReply, HTTPStatus.OK),
    ("PATCH", _SETUP, "Change the build set-up", _change, ConfigurationChanges, BuildConfigurationReply, HTTPStatus.OK),
    ("DELETE", _SETUP, "Remove the build set-up with its builds", _delete, Nothing, None, _NO_CONTENT),
)


def endpoints(builds: BuildsServices) -> list[Endpoint]:
    """Return the addresses of set-ups."""
    return [
        Endpoint(method, path, summary, bound(builds, handler), body=body, reply=reply, status=status)
        for method, path, summary, handler, body, reply, status in TABLE
    ]
