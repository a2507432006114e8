"""Rows of build configurations, their rules, secrets and calls of the trigger URL."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, Select, delete, select, update

from hythe.builds.configuration import (
    BuildConfiguration,
    BuildSource,
    ConfigurationChanges,
    NewBuildConfiguration,
    Options,
)
from hythe.builds.rules import Rule
from hythe.database import Session
from hythe.database.port import insert
from hythe.database.tables.builds import build_configurations, build_rules, build_secrets, build_trigger_calls
from hythe.database.tables.hub import users
from hythe.database.tables.registry import repositories

MAX_TRIGGER_CALLS = 10


class TriggerCall(msgspec.Struct, frozen=True):
    """A call of the trigger URL."""

    at: datetime
    address: str
    outcome: str


def _configurations_with_names() -> Select[Any]:
    blocked = select(1).where(users.c.name == build_configurations.c.account, users.c.blocked_at.is_not(None)).exists()
    return select(build_configurations, repositories.c.name, blocked.label("account_blocked")).join_from(
        build_configurations, repositories
    )


async def add(
    session: Session,
    repository_id: int,
    account: str,
    new: NewBuildConfiguration,
    sealed_credentials: str | None,
    sealed_token: str,
    creator: str,
    now: datetime,
) -> int:
    """Insert a configuration with its rules, return its id. Raises IntegrityError if the repository has one."""
    row = await session.row(
        insert(session, build_configurations)
        .values(
            repository_id=repository_id,
            account=account,
            **_source_columns(new.source),
            credentials=sealed_credentials,
            active=True,
            trigger_token=sealed_token,
            options=_json(new.options),
            failing=False,
            schedule_due=None,
            created_at=now,
            created_by=creator,
        )
        .returning(build_configurations.c.id)
    )
    if row is None:
        raise LookupError("INSERT .. RETURNING returned no row")
    await set_rules(session, row.id, new.rules)
    return int(row.id)


def _source_columns(source: BuildSource) -> dict[str, Any]:
    return {
        "source_url": source.url,
        "forge": source.forge,
        "forge_repository": source.forge_repository,
        "linked_account_id": source.linked_account_id,
        "default_branch": source.default_branch,
    }


async def set_rules(session: Session, configuration_id: int, rules: Sequence[Rule]) -> None:
    """Replace the rules of a configuration; a rule that keeps its id stays the same rule."""
    kept = [rule.id for rule in rules if rule.id]
    await session.run(
        delete(build_rules).where(build_rules.c.configuration_id == configuration_id, build_rules.c.id.not_in(kept))
    )
    for position, rule in enumerate(rules):
        text = _json(msgspec.structs.replace(rule, id=0))
        changed = await session.run(
            update(build_rules)
            .where(build_rules.c.configuration_id == configuration_id, build_rules.c.id == rule.id)
            .values(position=position, rule=text)
        )
        if not changed:
            await session.run(
                insert(session, build_rules).values(configuration_id=configuration_id, position=position, rule=text)
            )


async def change(
    session: Session, configuration_id: int, changes: ConfigurationChanges, sealed_credentials: str | None
) -> None:
    """Write changes to a configuration."""
    values: dict[str, Any] = _source_columns(changes.source) if changes.source else {}
    if changes.options is not None:
        values["options"] = _json(changes.options)
    if changes.active is not None:
        values["active"] = changes.active
    if changes.credentials is not None:
        values["credentials"] = sealed_credentials
    if values:
        await session.run(
            update(build_configurations).where(build_configurations.c.id == configuration_id).values(values)
        )
    if changes.rules is not None:
        await set_rules(session, configuration_id, changes.rules)


async def set_trigger_token(session: Session, configuration_id: int, sealed: str) -> None:
    """Replace the token of the trigger URL."""
    await session.run(
        update(build_configurations).where(build_configurations.c.id == configuration_id).values(trigger_token=sealed)
    )


async def set_failing(session: Session, configuration_id: int, *, failing: bool) -> None:
    """Record whether the last build failed."""
    await session.run(
        update(build_configurations).where(build_configurations.c.id == configuration_id).values(failing=failing)
    )


async def by_repository(session: Session, repository: str) -> BuildConfiguration | None:
    """Return the configuration of the repository with this canonical name."""
    found = await _read(session, _configurations_with_names().where(repositories.c.name == repository))
    return found[0] if found else None


async def active(session: Session, ids: Collection[int]) -> set[int]:
    """Return those of these ids whose build configuration exists and is active."""
    found = select(build_configurations.c.id).where(build_configurations.c.id.in_(ids), build_configurations.c.active)
    return {row.id for row in await session.rows(found)}


async def by_id(session: Session, configuration_id: int) -> BuildConfiguration | None:
    """Return the configuration with this id."""
    found = await _read(session, _configurations_with_names().where(build_configurations.c.id == configuration_id))
    return found[0] if found else None


async def by_linked_account(session: Session, linked_account_id: int) -> list[BuildConfiguration]:
    """Return every configuration that uses this linked account."""
    return await _read(
        session, _configurations_with_names().where(build_configurations.c.linked_account_id == linked_account_id)
    )


async def of_account(session: Session, account: str) -> list[BuildConfiguration]:
    """Return the configurations of a namespace, by repository name."""
    return await _read(
        session,
        _configurations_with_names().where(build_configurations.c.account == account).order_by(repositories.c.name),
    )


async def due(session: Session, now: datetime) -> list[BuildConfiguration]:
    """Return the active configurations whose scheduled time has passed."""
    where = (build_configurations.c.schedule_due <= now, build_configurations.c.active.is_(True))
    return await _read(
        session, _configurations_with_names().where(*where).order_by(build_configurations.c.schedule_due).limit(100)
    )


async def take_due(session: Session, configuration_id: int, now: datetime, at: datetime | None) -> bool:
    """Set the next due time; return False if another server has taken the current one."""
    where = (build_configurations.c.id == configuration_id, build_configurations.c.schedule_due <= now)
    return bool(await session.run(update(build_configurations).where(*where).values(schedule_due=at)))


async def set_due(session: Session, configuration_id: int, at: datetime | None) -> None:
    """Set when the next scheduled build is due."""
    await session.run(
        update(build_configurations).where(build_configurations.c.id == configuration_id).values(schedule_due=at)
    )


async def sealed(session: Session, configuration_id: int) -> tuple[str | None, str]:
    """Return the sealed credentials of the source and the sealed trigger token. Raises LookupError."""
    columns = select(build_configurations.c.credentials, build_configurations.c.trigger_token)
    row = await session.row(columns.where(build_configurations.c.id == configuration_id))
    if row is None:
        raise LookupError(f"no build configuration {configuration_id}")
    return row.credentials, row.trigger_token


async def secrets(session: Session, configuration_id: int) -> dict[str, str]:
    """Return the sealed build secrets by name."""
    rows = await session.rows(select(build_secrets).where(build_secrets.c.configuration_id == configuration_id))
    return {row.name: row.sealed for row in rows}


async def set_secret(session: Session, configuration_id: int, name: str, sealed_value: str) -> None:
    """Insert or replace a build secret."""
    statement = insert(session, build_secrets).values(configuration_id=configuration_id, name=name, sealed=sealed_value)
    await session.run(
        statement.on_conflict_do_update(index_elements=["configuration_id", "name"], set_={"sealed": sealed_value})
    )


async def remove_secret(session: Session, configuration_id: int, name: str) -> bool:
    """Delete a build secret; return whether it existed."""
    where = (build_secrets.c.configuration_id == configuration_id, build_secrets.c.name == name)
    return bool(await session.run(delete(build_secrets).where(*where)))


async def add_trigger_call(session: Session, configuration_id: int, call: TriggerCall) -> None:
    """Record a call of the trigger URL; only the last ten are kept."""
    await session.run(
        insert(session, build_trigger_calls).values(
            configuration_id=configuration_id, at=call.at, address=call.address, outcome=call.outcome
        )
    )
    newest = (
        select(build_trigger_calls.c.id)
        .where(build_trigger_calls.c.configuration_id == configuration_id)
        .order_by(build_trigger_calls.c.id.desc())
        .limit(MAX_TRIGGER_CALLS)
    )
    await session.run(
        delete(build_trigger_calls).where(
            build_trigger_calls.c.configuration_id == configuration_id, build_trigger_calls.c.id.not_in(newest)
        )
    )


async def trigger_calls(session: Session, configuration_id: int) -> list[TriggerCall]:
    """Return the last calls of the trigger URL, newest first."""
    rows = await session.rows(
        select(build_trigger_calls)
        .where(build_trigger_calls.c.configuration_id == configuration_id)
        .order_by(build_trigger_calls.c.id.desc())
    )
    return [TriggerCall(row.at, row.address, row.outcome) for row in rows]


async def _read(session: Session, statement: Select[Any]) -> list[BuildConfiguration]:
    rows = await session.rows(statement)
    rules = await _rules(session, [row.id for row in rows])
    return [_configuration(row, tuple(rules.get(row.id, ()))) for row in rows]


async def _rules(session: Session, configuration_ids: Sequence[int]) -> dict[int, list[Rule]]:
    found: dict[int, list[Rule]] = {}
    if configuration_ids:
        statement = (
            select(build_rules)
            .where(build_rules.c.configuration_id.in_(configuration_ids))
            .order_by(build_rules.c.position)
        )
        for row in await session.rows(statement):
            rule = msgspec.structs.replace(msgspec.json.decode(row.rule, type=Rule), id=row.id)
            found.setdefault(row.configuration_id, []).append(rule)
    return found


def _configuration(row: Row[Any], rules: tuple[Rule, ...]) -> BuildConfiguration:
    return BuildConfiguration(
        id=row.id,
        repository=row.name,
        repository_id=row.repository_id,
        account=row.account,
        source=BuildSource(
            url=row.source_url,
            forge=row.forge,
            forge_repository=row.forge_repository,
            linked_account_id=row.linked_account_id,
            default_branch=row.default_branch,
        ),
        rules=rules,
        options=msgspec.json.decode(row.options, type=Options),
        has_credentials=row.credentials is not None,
        active=row.active,
        failing=row.failing,
        created_at=row.created_at,
        created_by=row.created_by,
        account_blocked=bool(row.account_blocked),
    )


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
