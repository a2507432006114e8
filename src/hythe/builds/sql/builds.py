"""Rows of builds."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, Select, func, select, text, update

from hythe.builds.build import Build, Cause, SourceCommit
from hythe.builds.configuration import BuildConfiguration
from hythe.builds.rules import Rule
from hythe.builds.status import BuildStatus
from hythe.database import Session
from hythe.database.port import insert
from hythe.database.tables.builds import build_configurations, builds
from hythe.database.tables.hub import hub_repositories, namespaces
from hythe.database.tables.registry import repositories
from hythe.forges.source_ref import SourceRef, SourceType
from hythe.hub.access.access_context import Reader
from hythe.hub.sql.access_context import seen_by
from hythe.telemetry.request_record import current_request_id
from hythe.telemetry.tracing import current_trace_parent
from hythe.worker.protocol import BuildResult, BuildStep

ORDER_LOCK = 0x6F726472
"""PostgreSQL's advisory lock for numbering the builds of a configuration, and for superseding older ones."""

BATCH_SIZE = 500
"""Maximum number of builds in one IN list."""


class NewBuild(msgspec.Struct, frozen=True, kw_only=True):
    """A build to queue."""

    configuration_id: int
    account: str
    ref: SourceRef
    commit: SourceCommit
    cause: Cause
    started_by: str
    rule: Rule
    tags: tuple[str, ...]
    trusted: bool = True
    reproduces: int | None = None
    request_id: str = msgspec.field(default_factory=current_request_id)
    trace_parent: str = msgspec.field(default_factory=current_trace_parent)

    @property
    def concurrency_key(self) -> str:
        """Builds with the same key run one at a time, and a newer one supersedes a queued one."""
        kind = "again/" if self.reproduces else ""
        return kind + concurrency_key(self.configuration_id, self.rule.id, self.ref)

    @property
    def is_old_commit(self) -> bool:
        """Whether a user requested a certain commit: such a build does not supersede a queued one."""
        return bool(self.ref.commit) and self.cause in (Cause.RETRY, Cause.MANUAL)


def concurrency_key(configuration_id: int, rule_id: int, ref: SourceRef) -> str:
    """Return the concurrency key of the builds of a rule and a branch or tag."""
    return f"{configuration_id}/{rule_id}/{ref.type.value}/{ref.name}"


class BuildFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Filters for a list of builds; empty fields are ignored."""

    repository: str = ""
    account: str = ""
    status: str = ""
    source_name: str = ""
    commit: str = ""
    cause: str = ""
    tag: str = ""
    before: int = 0
    """Only builds with a smaller id, for the next page."""
    limit: int = 25


def _builds() -> Select[Any]:
    return select(builds, repositories.c.name).select_from(
        builds.join(build_configurations, builds.c.configuration_id == build_configurations.c.id).join(
            repositories, build_configurations.c.repository_id == repositories.c.id
        )
    )


async def add(session: Session, new: NewBuild, now: datetime) -> int:
    """Insert a queued build, return its id."""
    if session.dialect == "postgresql":
        keys = {"lock": ORDER_LOCK, "configuration": new.configuration_id % 2**31}
        await session.run(text("SELECT pg_advisory_xact_lock(CAST(:lock AS int), CAST(:configuration AS int))"), keys)
    last = await session.row(select(func.max(builds.c.number)).where(builds.c.configuration_id == new.configuration_id))
    row = await session.row(
        insert(session, builds)
        .values(
            configuration_id=new.configuration_id,
            number=((last[0] if last else None) or 0) + 1,
            account=new.account,
            concurrency_key=new.concurrency_key,
            status=BuildStatus.QUEUED.value,
            source_type=new.ref.type.value,
            source_name=new.ref.name,
            commit=new.ref.commit,
            message=new.commit.message,
            author=new.commit.author,
            cause=new.cause.value,
            started_by=new.started_by,
            rule=_json(new.rule),
            rule_id=new.rule.id,
            tags=_json(new.tags),
            trusted=new.trusted,
            reproduces=new.reproduces,
            request_id=new.request_id,
            trace_parent=new.trace_parent,
            created_at=now,
            fence=0,
            key_digest="",
            worker="",
            cancelled_by="",
            reason="",
            steps="[]",
            digest="",
            result="{}",
            log_size=0,
        )
        .returning(builds.c.id)
    )
    if row is None:
        raise LookupError("INSERT .. RETURNING returned no row")
    return int(row.id)


async def end(session: Session, *condition: ColumnElement[bool], **values: object) -> list[int]:
    """Set values of the builds that meet the condition; return their ids, sorted.

    Locks them in the order of their ids. One UPDATE for all has an order of its own, and could deadlock on PostgreSQL.
    """
    chosen = select(builds.c.id).where(*condition).order_by(builds.c.id).with_for_update(key_share=True)
    ids = [row.id for row in await session.rows(chosen)]
    for start in range(0, len(ids), BATCH_SIZE):
        some = ids[start : start + BATCH_SIZE]
        await session.run(update(builds).where(builds.c.id.in_(some)).values(values))
    return ids


async def supersede(session: Session, new: NewBuild, newer: int, now: datetime) -> list[int]:
    """End the queued builds with the same concurrency key, return their ids."""
    where = (
        builds.c.concurrency_key == new.concurrency_key,
        builds.c.status == BuildStatus.QUEUED.value,
        builds.c.id != newer,
    )
    reason = f"superseded by a newer commit of {new.ref.name}"
    return await end(session, *where, status=BuildStatus.SUPERSEDED.value, finished_at=now, reason=reason)


async def running_with_key(session: Session, concurrency_key: str) -> list[int]:
    """Return the ids of the running builds with this concurrency key."""
    where = (builds.c.concurrency_key == concurrency_key, builds.c.status == BuildStatus.RUNNING.value)
    return [row.id for row in await session.rows(select(builds.c.id).where(*where))]


async def by_id(session: Session, build_id: int) -> Build | None:
    """Return a build."""
    row = await session.row(_builds().where(builds.c.id == build_id))
    return _build(row) if row else None


async def some(session: Session, build_ids: Sequence[int]) -> dict[int, Build]:
    """Return the builds with these ids, of which there are at most BATCH_SIZE."""
    return {row.id: _build(row) for row in await session.rows(_builds().where(builds.c.id.in_(build_ids)))}


async def by_number(session: Session, repository: str, number: int) -> Build | None:
    """Return the build of a repository with this number."""
    row = await session.row(_builds().where(repositories.c.name == repository, builds.c.number == number))
    return _build(row) if row else None


async def find(session: Session, filters: BuildFilter) -> list[Build]:
    """Return the matching builds, newest first."""
    return await _find(session, _builds(), filters)


async def find_readable(session: Session, filters: BuildFilter, reader: Reader) -> list[Build]:
    """Return the matching builds of repositories that the reader may read, newest first."""
    joined = _builds().join(hub_repositories, hub_repositories.c.repository_id == repositories.c.id)
    return await _find(session, seen_by(joined.join(namespaces), reader), filters)


async def _find(session: Session, statement: Select[Any], filters: BuildFilter) -> list[Build]:
    statement = statement.where(repositories.c.deleted_at.is_(None))
    for column, value in (
        (repositories.c.name, filters.repository),
        (builds.c.account, filters.account),
        (builds.c.status, filters.status),
        (builds.c.source_name, filters.source_name),
        (builds.c.commit, filters.commit),
        (builds.c.cause, filters.cause),
    ):
        if value:
            statement = statement.where(column == value)
    if filters.tag:
        statement = statement.where(builds.c.tags.contains(_json(filters.tag), autoescape=True))
    if filters.before:
        statement = statement.where(builds.c.id < filters.before)
    rows = await session.rows(statement.order_by(builds.c.id.desc()).limit(filters.limit))
    return [_build(row) for row in rows]


async def last_finished(session: Session, configuration_id: int, source_name: str = "") -> Build | None:
    """Return the last build that succeeded or failed, of one branch or tag if it is given."""
    ended = (BuildStatus.SUCCEEDED.value, BuildStatus.FAILED.value)
    where = (builds.c.configuration_id == configuration_id, builds.c.status.in_(ended), builds.c.reproduces.is_(None))
    statement = _builds().where(*where)
    if source_name:
        statement = statement.where(builds.c.source_name == source_name)
    row = await session.row(statement.order_by(builds.c.id.desc()).limit(1))
    return _build(row) if row else None


async def failed_before(session: Session, build: Build) -> bool:
    """Whether the previous build of the same rule failed; builds of a branch are compared with that branch only."""
    ended = (BuildStatus.SUCCEEDED.value, BuildStatus.FAILED.value)
    statement = select(builds.c.status).where(
        builds.c.configuration_id == build.configuration_id,
        builds.c.rule_id == build.rule.id,
        builds.c.source_type == build.ref.type.value,
        builds.c.status.in_(ended),
        builds.c.reproduces.is_(None),
        builds.c.id < build.id,
    )
    if build.ref.type is SourceType.BRANCH:
        statement = statement.where(builds.c.source_name == build.ref.name)
    row = await session.row(statement.order_by(builds.c.id.desc()).limit(1))
    return row is not None and row.status == BuildStatus.FAILED.value


async def latest_results(session: Session, configuration: BuildConfiguration, limit: int) -> list[BuildResult]:
    """Return the last results of each branch and tag of the rules, oldest first."""
    where = (
        builds.c.configuration_id == configuration.id,
        builds.c.rule_id.in_([rule.id for rule in configuration.rules]),
        builds.c.status == BuildStatus.SUCCEEDED.value,
        builds.c.trusted.is_(True),
        builds.c.reproduces.is_(None),
    )
    newest = func.max(builds.c.id)
    last = select(newest).where(*where).group_by(builds.c.concurrency_key).order_by(newest.desc()).limit(limit)
    rows = await session.rows(select(builds.c.result).where(builds.c.id.in_(last)).order_by(builds.c.id))
    return [msgspec.json.decode(row.result, type=BuildResult) for row in rows]


async def last_of_branch(session: Session, build: Build) -> tuple[int, BuildResult] | None:
    """Return the number and the result of the last build that pushed an image of the same rule and branch."""
    where = (
        builds.c.concurrency_key == concurrency_key(build.configuration_id, build.rule.id, build.ref),
        builds.c.status == BuildStatus.SUCCEEDED.value,
        builds.c.trusted,
    )
    statement = select(builds.c.number, builds.c.result).where(*where).order_by(builds.c.id.desc()).limit(1)
    row = await session.row(statement)
    return (row.number, msgspec.json.decode(row.result, type=BuildResult)) if row else None


async def reproduced(session: Session, build_id: int) -> Build | None:
    """Return the build whose image this one should reproduce, None for other builds."""
    original = select(builds.c.reproduces).where(builds.c.id == build_id).scalar_subquery()
    row = await session.row(_builds().where(builds.c.id == original))
    return _build(row) if row else None


async def set_reproduced(session: Session, build_id: int, result: BuildResult) -> None:
    """Replace the result after a second, independent build has finished."""
    await session.run(update(builds).where(builds.c.id == build_id).values(result=_json(result)))


async def average_seconds(session: Session, configuration_ids: Sequence[int]) -> float | None:
    """Return the average time of the last builds of these configurations, None if there were none."""
    ended = (builds.c.status == BuildStatus.SUCCEEDED.value, builds.c.configuration_id.in_(configuration_ids))
    columns = select(builds.c.started_at, builds.c.finished_at)
    rows = await session.rows(columns.where(*ended).order_by(builds.c.id.desc()).limit(10))
    spans = [(row.finished_at - row.started_at).total_seconds() for row in rows if row.started_at and row.finished_at]
    return sum(spans) / len(spans) if spans else None


def _build(row: Row[Any]) -> Build:
    return Build(
        id=row.id,
        number=row.number,
        configuration_id=row.configuration_id,
        repository=row.name,
        account=row.account,
        status=BuildStatus(row.status),
        ref=SourceRef(SourceType(row.source_type), row.source_name, row.commit),
        commit=SourceCommit(row.message, row.author),
        cause=Cause(row.cause),
        started_by=row.started_by,
        rule=msgspec.json.decode(row.rule, type=Rule),
        tags=tuple(msgspec.json.decode(row.tags, type=list[str])),
        trusted=row.trusted,
        reproduces=row.reproduces,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        fence=row.fence,
        worker=row.worker,
        cancelled_by=row.cancelled_by,
        reason=row.reason,
        steps=tuple(msgspec.json.decode(row.steps, type=list[BuildStep])),
        digest=row.digest,
        result=msgspec.json.decode(row.result, type=BuildResult),
        log_size=row.log_size,
        request_id=row.request_id,
        trace_parent=row.trace_parent,
    )


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
