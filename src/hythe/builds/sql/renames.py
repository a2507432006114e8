"""The SQL with which builds follow renamed accounts and repositories."""

from sqlalchemy import ColumnElement, bindparam, delete, exists, literal, or_, select, update

from hythe.database import Session
from hythe.database.tables.builds import build_configurations, build_usage, builds
from hythe.database.tables.forges import linked_accounts
from hythe.database.tables.organizations import organization_members
from hythe.hub.accounts.account_events import RepositoryMove

STEP = 500
"""Finished builds that one statement renames."""

_UNFINISHED = builds.c.status.in_(("queued", "running"))
_OLD: ColumnElement[str] = bindparam("old", type_=builds.c.account.type)
_RENAME_CONFIGURATIONS = (
    update(build_configurations).where(build_configurations.c.account == _OLD).values(account=bindparam("new"))
)
_RENAME_UNFINISHED = update(builds).where(builds.c.account == _OLD, _UNFINISHED).values(account=bindparam("new"))
_FORGET_USAGE = delete(build_usage).where(build_usage.c.account == bindparam("of"))
_RENAME_USAGE = update(build_usage).where(build_usage.c.account == _OLD).values(account=bindparam("new"))
_SOME_FINISHED = select(builds.c.id).where(builds.c.account == _OLD).order_by(builds.c.id).limit(literal(STEP))
_RENAME_FINISHED = update(builds).where(builds.c.id.in_(_SOME_FINISHED)).values(account=bindparam("new"))

_CONFIGURATION = select(build_configurations.c.id).where(
    build_configurations.c.repository_id == bindparam("of_repository")
)
_MOVE_CONFIGURATION = (
    update(build_configurations)
    .where(build_configurations.c.repository_id == bindparam("of_repository"))
    .values(account=bindparam("new"))
)
_MOVE_UNFINISHED = (
    update(builds).where(builds.c.configuration_id.in_(_CONFIGURATION), _UNFINISHED).values(account=bindparam("new"))
)
# The linked account of a user who does not belong to the new owner.
_UNLINK = (
    update(build_configurations)
    .where(
        build_configurations.c.repository_id == bindparam("of_repository"),
        build_configurations.c.linked_account_id.is_not(None),
        ~exists().where(
            linked_accounts.c.id == build_configurations.c.linked_account_id,
            or_(
                linked_accounts.c.user_id == bindparam("owner_id"),
                exists().where(
                    organization_members.c.organization_id == bindparam("owner_id"),
                    organization_members.c.user_id == linked_accounts.c.user_id,
                ),
            ),
        ),
    )
    .values(linked_account_id=None, active=False)
)


async def rename_account(session: Session, old: str, new: str) -> None:
    """Give the configurations, unfinished builds and used minutes of an account its new name."""
    names = {"old": old, "new": new}
    await session.run(_RENAME_CONFIGURATIONS, names)
    await session.run(_RENAME_UNFINISHED, names)
    await session.run(_FORGET_USAGE, {"of": new})
    await session.run(_RENAME_USAGE, names)


async def rename_finished(session: Session, old: str, new: str) -> bool:
    """Give some finished builds the account's new name; return whether there were any."""
    return bool(await session.run(_RENAME_FINISHED, {"old": old, "new": new}))


async def move(session: Session, moved: RepositoryMove) -> None:
    """Let a repository's configuration and unfinished builds belong to its new owner.

    A linked account to which the new owner has no access is unlinked, and the configuration disabled until a user
    links one.
    """
    values = {"of_repository": moved.repository_id, "new": moved.present.partition("/")[0]}
    await session.run(_MOVE_CONFIGURATION, values)
    await session.run(_MOVE_UNFINISHED, values)
    await session.run(_UNLINK, {"of_repository": moved.repository_id, "owner_id": moved.owner_id or 0})
