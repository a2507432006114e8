"""Import of Docker Hub's automated build settings as a build configuration.

The input has the fields of Docker Hub's build settings; ``docs/trusted-builds.md`` describes them.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hythe.builds.configuration import BuildSource, NewBuildConfiguration, Options
from hythe.builds.errors import InvalidBuildConfiguration
from hythe.builds.rules import Rule
from hythe.forges.source_ref import SourceType

PROVIDERS = {"github": "https://github.com", "bitbucket": "https://bitbucket.org"}
"""The forges that Docker Hub's automated builds support."""


class BuildSetting(msgspec.Struct, frozen=True, kw_only=True):
    """A build rule of Docker Hub."""

    source_type: Literal["Branch", "Tag"] = "Branch"
    source_name: Annotated[str, Meta(min_length=1, max_length=250)]
    tag: Annotated[str, Meta(max_length=1000)] = "latest"
    dockerfile: Annotated[str, Meta(max_length=500)] = "Dockerfile"
    build_context: Annotated[str, Meta(max_length=500)] = "/"
    autobuild: bool = True
    nocache: bool = False


class EnvironmentVariable(msgspec.Struct, frozen=True):
    """A build environment variable of Docker Hub."""

    name: str
    value: str = ""


class DockerHubSettings(msgspec.Struct, frozen=True, kw_only=True):
    """An automated build of Docker Hub; ``repo_links`` rebuilds it when the base image changes."""

    provider: str = ""
    owner: Annotated[str, Meta(max_length=100)] = ""
    repository: Annotated[str, Meta(max_length=150)] = ""
    autotests: Literal["OFF", "SOURCE_ONLY", "SOURCE_AND_PRS"] = "OFF"
    repo_links: bool = False
    envvars: Annotated[tuple[EnvironmentVariable, ...], Meta(max_length=100)] = ()
    build_settings: Annotated[tuple[BuildSetting, ...], Meta(min_length=1, max_length=50)]


def from_docker_hub(old: DockerHubSettings, *, linked_account_id: int | None = None) -> NewBuildConfiguration:
    """Return the equivalent build configuration. Raises InvalidBuildConfiguration."""
    forge = old.provider.lower()
    root = PROVIDERS.get(forge)
    if root is None or not old.owner or not old.repository:
        raise InvalidBuildConfiguration(
            "the settings do not name a source", "set provider (github or bitbucket), owner and repository"
        )
    name = f"{old.owner}/{old.repository}"
    plain = [each.source_name for each in old.build_settings if each.source_type == "Branch"]
    branch = next((each for each in plain if not each.startswith("/")), "main")
    return NewBuildConfiguration(
        source=BuildSource(
            url=f"{root}/{name}.git",
            forge=forge,
            forge_repository=name,
            linked_account_id=linked_account_id,
            default_branch=branch,
        ),
        rules=tuple(map(_rule, old.build_settings)),
        # Docker Hub passed them to hooks and showed them to no one: as build arguments everyone could read them in the
        # image's history.
        secrets={each.name: each.value for each in old.envvars if each.value},
        options=Options(autotest=old.autotests != "OFF", base_link=old.repo_links),
    )


def _rule(setting: BuildSetting) -> Rule:
    return Rule(
        source_type=SourceType(setting.source_type.lower()),
        source=setting.source_name,
        tags=setting.tag,
        context=setting.build_context or "/",
        dockerfile=_path(setting.dockerfile),
        cache=not setting.nocache,
        autobuild=setting.autobuild,
    )


def _path(dockerfile: str) -> str:
    """Return the file: old rules name only the folder (``/``)."""
    return f"{dockerfile}Dockerfile" if dockerfile.endswith("/") else dockerfile or "Dockerfile"
