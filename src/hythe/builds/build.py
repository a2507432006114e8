"""A build: what was requested, its status and its result."""

from datetime import datetime
from enum import Enum

import msgspec

from hythe.builds.rules import Rule
from hythe.builds.status import BuildStatus
from hythe.forges.source_ref import SourceRef
from hythe.worker.protocol import BuildResult, BuildStep


class Cause(Enum):
    """What started a build."""

    PUSH = "push"
    TRIGGER = "trigger"
    MANUAL = "manual"
    SCHEDULE = "schedule"
    BASE = "base"
    RETRY = "retry"
    REPRODUCE = "reproduce"


class SourceCommit(msgspec.Struct, frozen=True):
    """What the hub knows about the commit before the checkout."""

    message: str = ""
    author: str = ""


class Build(msgspec.Struct, frozen=True, kw_only=True):
    """A build. ``number`` is unique in the repository, ``id`` in the hub."""

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
    """The build whose image this one should reproduce; it pushes nothing and notifies no one."""
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    fence: int
    worker: str
    cancelled_by: str
    reason: str
    steps: tuple[BuildStep, ...]
    digest: str
    result: BuildResult
    log_size: int
    request_id: str = ""
    """The ID of the request that started it; empty if a schedule did."""
    trace_parent: str = ""
    """The trace of that request, as a traceparent header."""


class QueuePosition(msgspec.Struct, frozen=True):
    """The position of a queued build: how many are ahead of it, and when it should start (None: unknown)."""

    ahead: int
    expected_at: datetime | None
