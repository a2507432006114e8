"""What a read-only second site needs besides images: accounts, roles, credentials and the state of repositories.

A second site has the first one's ``secret_key``, and proves it by a password that is derived from the key. It gets the
rows of TABLES as they are, with the same ids, so that passwords, tokens and second factors work at both sites. It has
no accounts of its own.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

import msgspec
from sqlalchemy import Table, delete, select, text

from hythe.database import Database, Session
from hythe.database.port import insert
from hythe.database.schema import newest_revision
from hythe.database.tables.administration import blocked_digests, blocked_names
from hythe.database.tables.hub import hub_repositories, namespaces, personal_tokens, reserved_names, signing_keys, users
from hythe.database.tables.identities import identities
from hythe.database.tables.names import former_namespaces, former_repositories
from hythe.database.tables.organizations import (
    collaborators,
    organization_members,
    team_grants,
    team_members,
    team_repositories,
    teams,
)
from hythe.database.tables.registry import repositories, tag_rules
from hythe.database.tables.second_factors import passkeys, recovery_codes, totp_secrets
from hythe.database.tables.tokens import trust_rules
from hythe.hub.sql import repositories as repository_rows
from hythe.registry.sql import deletions as deletion_store

TABLES: tuple[Table, ...] = (
    users,
    namespaces,
    repositories,
    hub_repositories,
    tag_rules,
    organization_members,
    teams,
    team_members,
    team_grants,
    team_repositories,
    collaborators,
    personal_tokens,
    trust_rules,
    identities,
    totp_secrets,
    recovery_codes,
    passkeys,
    former_namespaces,
    former_repositories,
    reserved_names,
    blocked_names,
    blocked_digests,
    signing_keys,
)
"""The tables that a second site follows, each after those that it refers to."""

KEPT = frozenset({"signing_keys"})
"""Tables of which the second site keeps rows of its own: keys that signed tokens here."""

READ_TIMEOUT = 60.0
"""Maximum seconds of reading one table."""

Row: TypeAlias = tuple[Any, ...]


class SiteRows(msgspec.Struct, frozen=True):
    """The rows of TABLES by the name of the table, in the order of its columns; of the schema ``revision``."""

    revision: str
    tables: dict[str, list[Row]]


def columns_of(table: Table) -> tuple[str, ...]:
    """Return the names of the columns that rows have values of."""
    return tuple(str(column.name) for column in table.columns if column.computed is None)


async def read_rows(database: Database) -> SiteRows:
    """Return the rows of this hub."""
    found: dict[str, list[Row]] = {}
    async with database.reading_long(READ_TIMEOUT) as session:
        for table in TABLES:
            found[str(table.name)] = await _rows(session, table)
    return SiteRows(newest_revision(), found)


async def has_accounts(session: Session) -> bool:
    """Return whether this hub has accounts."""
    return await session.row(select(users.c.id).limit(1)) is not None


async def apply_rows(session: Session, rows: SiteRows, now: datetime) -> set[str]:
    """Make the rows of this hub those of the first site; return the repositories whose content may have changed."""
    gone = await _remove_surplus(session, rows, now)
    changed: set[int] = set()
    for table in TABLES:
        for row in await _add_missing(session, table, rows.tables.get(str(table.name), [])):
            if table is hub_repositories:
                changed.add(int(row[0]))
    for repository_id in sorted(changed - gone):
        await repository_rows.index_if_listed(session, repository_id)
    if session.dialect == "postgresql":
        await _set_sequences(session)
    names = {row[0]: str(row[1]) for row in rows.tables.get("repositories", [])}
    return {names[each] for each in changed if each in names}


async def _rows(session: Session, table: Table) -> list[Row]:
    statement = select(*(table.c[name] for name in columns_of(table)))
    if table is repositories:
        statement = statement.where(repositories.c.deleted_at.is_(None))
    return [tuple(row) for row in await session.rows(statement)]


def _key_of(table: Table, row: Sequence[Any]) -> tuple[Any, ...]:
    names = columns_of(table)
    return tuple(row[names.index(str(column.name))] for column in table.primary_key.columns)


def _where_key(table: Table, key: Sequence[Any]) -> list[Any]:
    return [column == value for column, value in zip(table.primary_key.columns, key, strict=True)]


async def _remove_surplus(session: Session, rows: SiteRows, now: datetime) -> set[int]:
    """Remove what the first site no longer has; return the ids of removed repositories."""
    gone: set[int] = set()
    for table in reversed(TABLES):
        if table.name in KEPT:
            continue
        wanted = {_key_of(table, row) for row in rows.tables.get(str(table.name), [])}
        for row in await _rows(session, table):
            key = _key_of(table, row)
            if key in wanted:
                continue
            if table is repositories:
                await deletion_store.mark(session, int(row[0]), str(row[1]), now)
                gone.add(int(row[0]))
            else:
                await session.run(delete(table).where(*_where_key(table, key)))
    return gone


async def _add_missing(session: Session, table: Table, wanted: list[Row]) -> list[Row]:
    """Insert and update the rows of a table; return those that are new or changed."""
    names = columns_of(table)
    present: Mapping[tuple[Any, ...], Row] = {_key_of(table, row): row for row in await _rows(session, table)}
    changed = [row for row in wanted if present.get(_key_of(table, row)) != row]
    for row in changed:
        values = dict(zip(names, row, strict=True))
        key = [str(column.name) for column in table.primary_key.columns]
        statement = insert(session, table).values(values)
        await session.run(statement.on_conflict_do_update(index_elements=key, set_=values))
    return changed


async def _set_sequences(session: Session) -> None:
    """Let the ids of new rows begin after those that were copied: they are needed once this site is the first one."""
    for table in TABLES:
        if "id" in table.c and table.c.id.type.python_type is int:
            sequence = f"pg_get_serial_sequence('{table.name}', 'id')"
            # Without rows, the maximum is NULL, and nothing is set.
            await session.row(text(f"SELECT setval({sequence}, (SELECT max(id) FROM {table.name}))"))  # noqa: S608
