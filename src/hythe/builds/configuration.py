"""A set-up: what is built into a repository, from where, and how."""

from datetime import datetime
from enum import Enum
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from hythe.builds.rules import Rule

LONGEST_REPOSITORY = 255
"""Characters of a repository's name at its forge."""

LinkedAccountId: TypeAlias = Annotated[int, Meta(ge=1, le=2**53)]
"""A linked account's number."""


class Forge(Enum):
    """What kind of place the source is kept at; ``git`` is any address."""

    GITHUB = "github"
    BITBUCKET = "bitbucket"
    GITLAB = "gitlab"
    GITEA = "gitea"
    GIT = "git"


class Network(Enum):
    """What the steps of a build may reach."""

    OFF = "off"
    REGISTRY = "registry"
    OPEN = "open"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Choices of a set-up that are the same for all its rules; an empty choice is the installation's own."""

    autotest: bool = False
    base_link: bool = False
    """Build anew when a base image moved."""
    schedule: Annotated[str, Meta(max_length=100)] = ""
    """When to build anew by the clock: ``daily 04:00``, ``weekly mon 04:00``, ``every 6h``; empty: never."""
    network: Network | None = None
    reproduce: bool = False
    submodules: bool = True
    readme: bool = True
    """Whether the README beside the Dockerfile becomes the description."""
    mail: bool = True


class BuildSource(msgspec.Struct, frozen=True, kw_only=True):
    """Where the code is. ``url`` is what git clones; ``forge_repository`` is OWNER/NAME at the forge."""

    url: Annotated[str, Meta(min_length=1, max_length=2000)]
    forge: Forge = Forge.GIT
    forge_repository: Annotated[str, Meta(max_length=LONGEST_REPOSITORY)] = ""
    linked_account_id: LinkedAccountId | None = None
    default_branch: Annotated[str, Meta(max_length=250)] = ""
    """Empty: what the address says it is, ``main`` where it says nothing."""


class BuildConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """A repository's set-up; ``repository`` is the canonical name. ``has_credentials``: the source has some, sealed."""

    id: int
    repository: str
    repository_id: int
    account: str
    source: BuildSource
    rules: tuple[Rule, ...]
    options: Options
    has_credentials: bool
    active: bool
    failing: bool
    created_at: datetime
    created_by: str


class NewBuildConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody asks for; ``credentials`` opens a private address (``USER:PASSWORD`` or a private SSH key)."""

    source: BuildSource
    rules: tuple[Rule, ...] = ()
    options: Options = Options()
    credentials: Annotated[str, Meta(max_length=20_000)] = ""


class ConfigurationChanges(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What of a set-up shall change; None leaves a thing as it is.

    Credentials stay only while the source stays at its host: another host gets those that come along, or none.
    """

    source: BuildSource | None = None
    rules: tuple[Rule, ...] | None = None
    options: Options | None = None
    credentials: Annotated[str, Meta(max_length=20_000)] | None = None
    active: bool | None = None
