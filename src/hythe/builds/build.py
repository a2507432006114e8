"""A build: what was asked for, where it stands, and what came of it."""

from datetime import datetime
from enum import Enum

import msgspec

from hythe.builds.rules import Rule, SourceRef
from hythe.builds.status import BuildStatus


class Cause(Enum):
    """Why a build was asked for."""

    PUSH = "push"
    TRIGGER = "trigger"
    MANUAL = "manual"
    SCHEDULE = "schedule"
    BASE = "base"
    RETRY = "retry"
    REPRODUCE = "reproduce"


class SourceCommit(msgspec.Struct, frozen=True):
    """What is known of the commit when the build is asked for."""

    message: str = ""
    author: str = ""


class Step(msgspec.Struct, frozen=True):
    """One step of a build that has begun; times in seconds since the epoch; ``seconds`` None while it runs."""

    name: str
    started: float
    seconds: float | None = None


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a build gave besides the image: digests of what it was built from and of what is attached to it."""

    images: dict[str, str] = {}
    """Platform -> digest of that platform's image."""
    bases: dict[str, str] = {}
    """Base image as written -> digest that was used."""
    registry: str = ""
    """HOST[:PORT] under which the worker reached this hub's registry: bases there are our own."""
    attestations: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    dockerfile: str = ""
    readme: str = ""
    builder: str = ""
    isolation: str = ""
    reproduced: bool | None = None


class Build(msgspec.Struct, frozen=True, kw_only=True):
    """One build. ``number`` counts within the repository, ``id`` over the whole hub."""

    id: int
    number: int
    configuration_id: int
    repository: str
    account: str
    status: BuildStatus
    ref: SourceRef
    commit: SourceCommit
    cause: Cause
    started_by: str
    rule: Rule
    tags: tuple[str, ...]
    trusted: bool
    reproduces: int | None
    """The build whose image this one should give again; nothing of it is pushed or told."""
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    fence: int
    worker: str
    cancelled_by: str
    reason: str
    steps: tuple[Step, ...]
    digest: str
    result: Result
    log_size: int


class QueuePosition(msgspec.Struct, frozen=True):
    """Where a waiting build stands: how many come before it, and when it should start (None: cannot be said)."""

    before: int
    expected_at: datetime | None
