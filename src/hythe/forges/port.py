"""The port: what Trusted Builds ask of a forge, and what a forge tells by its webhooks."""

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Any, Protocol, TypeAlias

import msgspec

from hythe.builds.configuration import Forge as Kind
from hythe.forges.json_sanitizing import without_nul
from hythe.forges.source_ref import SourceRef, SourceType

MOST_REFS = 300
"""Branches, and tags, that a preview looks at."""

Headers: TypeAlias = Mapping[str, str]
"""Headers of a request, their names in small letters."""

LONGEST_NAME = 250
_KINDS = {"heads": SourceType.BRANCH, "tags": SourceType.TAG}


class ForgeAccount(msgspec.Struct, frozen=True):
    """Whose token it is; ``scopes`` as far as the forge says them."""

    id: str
    login: str
    scopes: tuple[str, ...] = ()


class ForgeRepository(msgspec.Struct, frozen=True, kw_only=True):
    """A repository of a forge. ``admin``: whether the token may install webhooks and keys, as far as the forge says."""

    name: str
    clone_url: str
    ssh_url: str
    default_branch: str
    private: bool
    admin: bool
    description: str = ""


class RepositoryPage(msgspec.Struct, frozen=True):
    """Some repositories; ``more``: whether there is a next page."""

    items: tuple[ForgeRepository, ...]
    more: bool = False


class StatusState(Enum):
    """What a commit status says; each forge has its own words for these."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILURE = "failure"
    CANCELLED = "cancelled"


class CommitStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What is said about a commit, and where more can be read; ``context`` tells it from what others say."""

    commit: str
    state: StatusState
    context: str
    description: str
    target_url: str


class ForgeClient(Protocol):
    """A forge seen with one token. Every call raises ForgeAway, TokenRefused, RightsLacking, ForgeError.

    ``name`` is OWNER/NAME as the forge spells it.
    """

    async def account(self) -> ForgeAccount:
        """Return whose token it is."""

    async def repositories(self, query: str, page: int) -> RepositoryPage:
        """Return those that the token reaches and whose name holds ``query``; pages count from 1."""

    async def repository(self, name: str) -> ForgeRepository:
        """Return one repository."""

    async def refs(self, name: str) -> tuple[SourceRef, ...]:
        """Return the branches and tags, at most MOST_REFS of each."""

    async def add_hook(self, name: str, url: str, secret: str) -> str:
        """Have pushes of branches and tags told to ``url``, signed by ``secret``; returns the webhook's id there."""

    async def remove_hook(self, name: str, hook_id: str) -> None:
        """Remove a webhook; one that is gone already is removed."""

    async def add_key(self, name: str, title: str, public_key: str) -> str:
        """Let an SSH key read the repository, and no more; returns the key's id there."""

    async def remove_key(self, name: str, key_id: str) -> None:
        """Remove a deploy key; one that is gone already is removed."""

    async def set_status(self, name: str, status: CommitStatus) -> None:
        """Say something about a commit."""


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """A branch or tag that moved: ``before`` is the commit that it was at, empty when it is new or that is not said."""

    ref: SourceRef
    before: str = ""
    message: str = ""
    author: str = ""


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One webhook request, understood. No moves: nothing that builds (a test, say)."""

    repository: str
    event: str
    moves: tuple[Move, ...] = ()
    gone: tuple[SourceRef, ...] = ()
    """Branches and tags that were deleted; they name no commit."""
    pusher: str = ""
    sent_at: datetime | None = None
    """When it was sent, where that is told under the signature."""


class Hooks(Protocol):
    """How a forge's webhooks look. Nothing of a body is believed before ``is_signed`` said yes."""

    def knows(self, headers: Headers) -> bool:
        """Whether a request with these headers comes from this kind of forge."""

    def delivery_id(self, headers: Headers, body: bytes) -> str:
        """Return what a repeated delivery has in common with the first; empty when it cannot be told."""

    def is_signed(self, headers: Headers, body: bytes, secret: str) -> bool:
        """Whether it was made by somebody who knows the secret; compared in constant time."""

    def read(self, headers: Headers, body: bytes) -> Delivery:
        """Return what it says. Raises UnreadableDelivery."""


class UnreadableDelivery(Exception):
    """A webhook's body that is not what the forge documents."""


def parsed_body(body: bytes, wanted: type[Any]) -> Any:
    """Return a webhook's JSON body as ``wanted``. Raises UnreadableDelivery."""
    try:
        return msgspec.json.decode(without_nul(body), type=wanted)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableDelivery(f"the body is not what this forge documents: {error}") from error


def parsed_ref(ref: str, commit: str) -> SourceRef | None:
    """Return ``refs/heads/..`` or ``refs/tags/..`` as a value; None for other refs. No commit: it was deleted."""
    root, _, rest = ref.partition("/")
    kind, _, name = rest.partition("/")
    if root != "refs" or kind not in _KINDS or not name or len(name) > LONGEST_NAME:
        return None
    return SourceRef(_KINDS[kind], name, real_commit(commit))


def real_commit(commit: str) -> str:
    """Return the commit; empty for the zeros by which forges say that there is none, and for what is none."""
    hexadecimal = 40 <= len(commit) <= 64 and not set(commit) - set("0123456789abcdef")
    return commit if hexadecimal and commit.strip("0") else ""


class OAuthAddresses(msgspec.Struct, frozen=True):
    """Where a forge lets users allow us in. ``revoke`` empty: it has no address that takes a token back."""

    authorize: str
    token: str
    revoke: str = ""


class Rights(msgspec.Struct, frozen=True):
    """What is asked for, in the forge's words and in ours; least first."""

    scopes: tuple[str, ...]
    meaning: str


class Source(Protocol):
    """A kind of forge at one address."""

    kind: Kind
    url: str
    title: str
    oauth: OAuthAddresses
    public: Rights
    private: Rights
    token_page: str
    """Where users make a token to paste, and see what they allowed."""

    def client(self, token: str) -> ForgeClient:
        """Return the forge as seen with this token."""
