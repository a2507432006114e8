"""The values that the hub and its workers exchange as JSON: the job, its progress and its result."""

from enum import Enum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hythe.client.transfer_rate import TransferRate
from hythe.egress.policy import EgressPolicy
from hythe.forges.source_ref import SourceRef

MAX_CONCURRENCY = 10_000
"""The most builds at once that a worker can report."""


class Network(Enum):
    """What the steps of a build can reach."""

    OFF = "off"
    REGISTRY = "registry"
    OPEN = "open"


class BuildLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one build: sizes in bytes, ``seconds`` of wall time, ``processors`` in cores."""

    processors: float = 2.0
    memory: int = 4 << 30
    processes: int = 2048
    disk: int = 20 << 30
    files: int = 1_000_000
    seconds: int = 3600
    log: int = 8 << 20
    transfer_rate: int = 0
    """Least average rate in bytes per second at which servers must send and receive; 0: any."""
    network: Network = Network.OPEN
    internal_networks: str = ""
    """The hub's setting of that name. Loopback in it is that of the worker's machine."""
    source_hosts: tuple[str, ...] = ()
    """HOST:PORT of the operator's forges, where sources are fetched even if ``egress`` does not allow it."""
    kept_disks: int = 20 << 30
    """Size of all disks that a worker keeps for one account."""

    @property
    def least_rate(self) -> TransferRate | None:
        """The least rate of transfers, None if there is none."""
        return TransferRate(self.transfer_rate) if self.transfer_rate else None

    @property
    def egress(self) -> EgressPolicy:
        """Which addresses the build, its source and its base images can reach. Raises SettingsError."""
        return EgressPolicy.parse(self.internal_networks)


class BuildSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What to build, from the build rule and the build configuration; paths are relative to the source.

    ``rule`` is the branch, tag or expression of the rule; the provenance names it.
    """

    rule: str = ""
    context: str = "/"
    dockerfile: str = "Dockerfile"
    arguments: dict[str, str] = {}
    target: str = ""
    platforms: tuple[str, ...] = ()
    cache: bool = True
    autotest: bool = False
    submodules: bool = True
    readme: bool = True
    """Whether to send the README next to the Dockerfile."""


class BuildCache(msgspec.Struct, frozen=True, kw_only=True):
    """What a build may take over from earlier builds of its rule and branch, and leave for later ones.

    The hub decides: nothing for builds of tags, of pull requests, without cache, or that check an image. ``key`` names
    the disk of base images and layers that a worker keeps; empty: keep nothing and share nothing.
    """

    key: Annotated[str, Meta(pattern=r"^[0-9a-z-]*$", max_length=100)] = ""
    layers: dict[str, str] = {}
    """Index of layers by name -> digest, as an earlier build recorded it (``BuildResult.layers``)."""
    build: int = 0
    """The number of that build."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A claimed build, with everything that a worker needs. ``key`` authenticates the worker's later requests."""

    build_id: int
    number: int
    repository: str
    fence: int
    key: str
    source_url: str
    credentials: str
    ref: SourceRef
    spec: BuildSpec
    tags: tuple[str, ...]
    secrets: dict[str, str]
    trusted: bool
    limits: BuildLimits
    log_size: int
    registry: str
    """HOST[:PORT] of the hub's registry, as in image names."""
    hub_url: str
    compare_with: str = ""
    """Digest that this build should reproduce; if set, nothing is pushed."""
    cache: BuildCache = BuildCache()
    request_id: str = ""
    """The ID of the request that started the build, for logs; empty if a schedule did."""
    trace_parent: str = ""
    """The trace of that request, as a traceparent header."""

    @property
    def attempt_name(self) -> str:
        """The name of this attempt's folders and control group, unique among the builds of a worker."""
        return f"{self.build_id}-{self.fence}"


class Claim(msgspec.Struct, frozen=True):
    """A worker's request for a job; the hub waits up to ``wait`` seconds for one.

    The other fields describe the worker to administrators: its version, the platform of its machine
    (``linux/amd64``), how it builds and isolates builds, and how many it runs at once.
    """

    worker: Annotated[str, Meta(min_length=1, max_length=100)]
    wait: Annotated[int, Meta(ge=0, le=60)] = 20
    version: Annotated[str, Meta(max_length=50)] = ""
    platform: Annotated[str, Meta(max_length=60)] = ""
    builder: Annotated[str, Meta(max_length=300)] = ""
    isolation: Annotated[str, Meta(max_length=500)] = ""
    concurrency: Annotated[int, Meta(ge=1, le=MAX_CONCURRENCY)] = 1


class DiskKeys(msgspec.Struct, frozen=True):
    """The keys of disks: those that a worker keeps, or in the reply, those of them that it should delete."""

    keys: tuple[Annotated[str, Meta(max_length=100)], ...]


class CheckedOutCommit(msgspec.Struct, frozen=True):
    """The commit that was checked out."""

    commit: Annotated[str, Meta(pattern="^[0-9a-f]{40,64}$")]
    message: Annotated[str, Meta(max_length=100_000)] = ""
    author: Annotated[str, Meta(max_length=1000)] = ""


class DockerTags(msgspec.Struct, frozen=True):
    """The Docker tags of a build; some depend on its commit."""

    tags: tuple[str, ...]


class BuildStep(msgspec.Struct, frozen=True):
    """A step that has started. ``started`` is in seconds since the epoch; ``seconds`` is None while it runs."""

    name: str
    started: float
    seconds: float | None = None


class ProgressReport(msgspec.Struct, frozen=True):
    """The steps so far; also the heartbeat."""

    steps: tuple[BuildStep, ...] = ()


class HeartbeatReply(msgspec.Struct, frozen=True):
    """The hub's response to a heartbeat or a part of the log; stop the build if ``cancelled_by`` is not empty."""

    cancelled_by: str = ""
    log_size: int = 0


class BuildResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a build besides its image: digests of base images and attestations, tags and more."""

    images: dict[str, str] = {}
    """Platform -> digest of that platform's image."""
    bases: dict[str, str] = {}
    """Base image as the Dockerfile names it -> digest that was used."""
    registry: str = ""
    """HOST[:PORT] of this hub's registry for the worker: base images there belong to this hub."""
    layers: dict[str, str] = {}
    """Layers for the next build of this rule and branch, see ``BuildCache``."""
    cache_key: str = ""
    """``BuildCache.key`` of the builds that may use the layers."""
    cached: str = ""
    """Names what the build could use of earlier ones; NO_CACHE: nothing; empty: unknown."""
    hooks: tuple[str, ...] = ()
    """The hooks that ran."""
    attestations: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    dockerfile: str = ""
    readme: str = ""
    builder: str = ""
    isolation: str = ""
    reproduced: bool | None = None


class BuildOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a build ended."""

    status: Literal["succeeded", "failed", "cancelled"]
    reason: Annotated[str, Meta(max_length=2000)] = ""
    digest: str = ""
    result: BuildResult = BuildResult()


class PushToken(msgspec.Struct, frozen=True):
    """A registry token for the build's own repository, valid for ``expires_in`` seconds."""

    token: str
    expires_in: int


class UnsignedStatement(msgspec.Struct, frozen=True):
    """A statement for the hub to sign: its bytes as text."""

    payload: str


class SignedEnvelope(msgspec.Struct, frozen=True):
    """A DSSE envelope as JSON text."""

    envelope: str
