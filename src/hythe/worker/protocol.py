"""What goes between the hub and a worker: the job, and what the worker tells about it."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hythe.builds.build import Result, Step
from hythe.builds.configuration import Network, Options
from hythe.builds.rules import Rule
from hythe.forges.source_ref import SourceRef


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one build may use: sizes in bytes, ``seconds`` of wall time, ``processors`` as a share of cores."""

    processors: float = 2.0
    memory: int = 4 << 30
    processes: int = 2048
    disk: int = 20 << 30
    files: int = 1_000_000
    seconds: int = 3600
    log: int = 8 << 20
    network: Network = Network.OPEN


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One claimed build, with everything that a worker needs. ``key`` is what it shows to the hub from now on."""

    build_id: int
    number: int
    repository: str
    fence: int
    key: str
    source_url: str
    credentials: str
    ref: SourceRef
    rule: Rule
    tags: tuple[str, ...]
    options: Options
    secrets: dict[str, str]
    trusted: bool
    limits: Limits
    log_size: int
    registry: str
    """HOST[:PORT] of the hub, as image names spell it."""
    hub_url: str
    compare_with: str = ""
    """Digest that a second, independent build should give; nothing is pushed then."""


class Claim(msgspec.Struct, frozen=True):
    """A worker asks for work; ``wait`` is how many seconds it is willing to."""

    worker: Annotated[str, Meta(min_length=1, max_length=100)]
    wait: Annotated[int, Meta(ge=0, le=60)] = 20


class Found(msgspec.Struct, frozen=True):
    """What the checkout found."""

    commit: Annotated[str, Meta(pattern="^[0-9a-f]{40,64}$")]
    message: Annotated[str, Meta(max_length=100_000)] = ""
    author: Annotated[str, Meta(max_length=1000)] = ""


class Tags(msgspec.Struct, frozen=True):
    """The Docker tags of a build, now that its commit is known."""

    tags: tuple[str, ...]


class Progress(msgspec.Struct, frozen=True):
    """The steps so far; also the heartbeat."""

    steps: tuple[Step, ...] = ()


class HeartbeatReply(msgspec.Struct, frozen=True):
    """The hub's answer to a heartbeat or a piece of log; ``cancelled_by`` not empty: stop now."""

    cancelled_by: str = ""
    log_size: int = 0


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a build ended, as its worker says."""

    status: Literal["succeeded", "failed", "cancelled"]
    reason: Annotated[str, Meta(max_length=2000)] = ""
    digest: str = ""
    result: Result = Result()


class PushToken(msgspec.Struct, frozen=True):
    """A token of the registry for the build's own repository, good for ``expires_in`` seconds."""

    token: str
    expires_in: int


class Statement(msgspec.Struct, frozen=True):
    """A statement to be signed by the hub: its bytes as text."""

    payload: str


class Envelope(msgspec.Struct, frozen=True):
    """A DSSE envelope as JSON text."""

    envelope: str
