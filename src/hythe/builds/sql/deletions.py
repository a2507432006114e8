"""Deletes build configurations: they stop at once, and their builds and logs are deleted in small steps."""

from sqlalchemy import bindparam, delete, select, update

from hythe.database import Session
from hythe.database.tables.builds import build_configurations, build_log, builds
from hythe.database.tables.forges import forge_webhooks

BUILDS_AT_ONCE = 50
"""Builds to delete in one step."""

CHUNKS_AT_ONCE = 20
"""Chunks of logs to delete in one step: they are large."""

_BUILDS = (
    select(builds.c.id)
    .where(builds.c.configuration_id == bindparam("configuration_id"))
    .order_by(builds.c.id)
    .limit(BUILDS_AT_ONCE)
)
_CHUNKS = (
    select(build_log.c.build_id, build_log.c.offset)
    .where(build_log.c.build_id.in_(bindparam("builds", expanding=True)))
    .limit(CHUNKS_AT_ONCE)
)
_DELETE_CHUNK = delete(build_log).where(
    build_log.c.build_id == bindparam("build_id_"), build_log.c.offset == bindparam("offset_")
)
_DELETE_BUILDS = delete(builds).where(builds.c.id.in_(bindparam("builds", expanding=True)))
_CONFIGURATION = select(build_configurations.c.id).where(build_configurations.c.repository_id == bindparam("id"))
_DELETE = delete(build_configurations).where(build_configurations.c.id == bindparam("configuration_id"))
_STOP = update(build_configurations).where(build_configurations.c.id == bindparam("id_"))
_ORPHAN = update(forge_webhooks).where(forge_webhooks.c.configuration_id == bindparam("id_"))


async def configuration_of(session: Session, repository_id: int) -> int | None:
    """Return the id of a repository's build configuration."""
    row = await session.row(_CONFIGURATION, {"id": repository_id})
    return None if row is None else int(row.id)


async def move(session: Session, configuration_id: int, repository_id: int) -> None:
    """Move a build configuration to a deleted repository, with which it will be deleted."""
    await session.run(_STOP.values(repository_id=repository_id), {"id_": configuration_id})


async def stop(session: Session, configuration_id: int) -> None:
    """Let nothing trigger a build configuration again, and have its webhook removed at the forge."""
    await session.run(_STOP.values(active=False, schedule_due=None), {"id_": configuration_id})
    await session.run(_ORPHAN.values(configuration_id=None), {"id_": configuration_id})


async def delete_some(session: Session, repository_id: int) -> bool:
    """Delete some rows of a deleted repository's build configuration; return whether there were any."""
    configuration_id = await configuration_of(session, repository_id)
    if configuration_id is None:
        return False
    ids = [row.id for row in await session.rows(_BUILDS, {"configuration_id": configuration_id})]
    chunks = await session.rows(_CHUNKS, {"builds": ids}) if ids else []
    if chunks:
        # One by one: SQLite searches the whole table for a list of pairs.
        await session.run(_DELETE_CHUNK, [{"build_id_": row.build_id, "offset_": row.offset} for row in chunks])
    elif ids:
        await session.run(_DELETE_BUILDS, {"builds": ids})
    else:
        await session.run(_DELETE, {"configuration_id": configuration_id})
    return True
