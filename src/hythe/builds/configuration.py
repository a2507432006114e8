"""A build configuration: what is built into a repository, from which source, and how."""

from datetime import datetime
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from hythe.builds.rules import Rule
from hythe.forges.adapters import source_kinds
from hythe.forges.source_ref import GIT, ForgeKind
from hythe.worker.protocol import Network

MAX_REPOSITORY_LENGTH = 255
"""Maximum length of a repository's name at its forge."""

LinkedAccountId: TypeAlias = Annotated[int, Meta(ge=1, le=2**53)]
"""The id of a linked account."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Options that apply to all rules of a build configuration; an empty one uses the installation's default."""

    autotest: bool = False
    base_link: bool = False
    """Rebuild when a base image changes."""
    schedule: Annotated[str, Meta(max_length=100)] = ""
    """When to rebuild: ``daily 04:00``, ``weekly mon 04:00``, ``every 6h`` (UTC); empty: never."""
    network: Network | None = None
    reproduce: bool = False
    submodules: bool = True
    readme: bool = True
    """Whether the README next to the Dockerfile becomes the repository's description."""
    mail: bool = True


class BuildSource(msgspec.Struct, frozen=True, kw_only=True):
    """The source repository. git clones ``url``; ``forge_repository`` is OWNER/NAME at the forge."""

    url: Annotated[str, Meta(min_length=1, max_length=2000)]
    forge: Annotated[ForgeKind, Meta(extra_json_schema={"enum": [*source_kinds()]})] = GIT
    forge_repository: Annotated[str, Meta(max_length=MAX_REPOSITORY_LENGTH)] = ""
    linked_account_id: LinkedAccountId | None = None
    default_branch: Annotated[str, Meta(max_length=250)] = ""
    """Empty: read from the source, or ``main`` if the source does not name one."""


class BuildConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """The build configuration of a repository; ``repository`` is its canonical name.

    ``has_credentials`` tells whether there are sealed credentials for the source; ``account_blocked``: nothing starts
    its builds, because an administrator blocked the account.
    """

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
    account_blocked: bool = False


class NewBuildConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """A build configuration to create; ``credentials`` for a private source are ``USER:PASSWORD`` or an SSH key.

    ``secrets`` are build secrets by name.
    """

    source: BuildSource
    rules: tuple[Rule, ...] = ()
    options: Options = Options()
    credentials: Annotated[str, Meta(max_length=20_000)] = ""
    secrets: dict[str, str] = {}


class ConfigurationChanges(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Changes to a build configuration; None leaves a field as it is.

    Stored credentials are deleted when the source moves to another host, unless the change has new ones.
    """

    source: BuildSource | None = None
    rules: tuple[Rule, ...] | None = None
    options: Options | None = None
    credentials: Annotated[str, Meta(max_length=20_000)] | None = None
    active: bool | None = None
