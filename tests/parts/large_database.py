"""Fills every table with generated rows: about as many per repository, user or namespace as a large hub has.

Rows belong together: the row of number KEY refers to the rows of number KEY of other tables. Half of the rows of each
table belong to that one parent, the others to PARENTS of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from sqlalchemy import Boolean, Column, DateTime, Integer, LargeBinary, Table, UniqueConstraint
from sqlalchemy.types import TypeDecorator

from hythe.database.port import Dialect
from hythe.database.tables.metadata import METADATA

KEY = 7
"""The number of the row that arguments of queries refer to."""

PRIVATE_KEY = 11
"""The number of a private repository."""

APPLIED_TEAM, DELETED_TEAM = 13, 15
"""The numbers of teams whose grants are applied to all repositories; one of the teams is being deleted."""

PARENTS = 1000

TEXT = f"s{KEY}"
"""The value of that row's texts."""

DIGEST = f"sha256:{KEY:064d}"
"""The value of that row's digests."""

TIME = datetime(2026, 1, 1, tzinfo=UTC)
"""The time of all rows."""

_DIGEST_LENGTH = 140

_JSON = {"annotations": "{}", "options": "{}", "tags": "[]", "steps": "[]", "result": "{}", "rule": "{}", "state": ""}

_VALUES = {
    "hub_repositories.visibility": "CASE WHEN n % 10 = 1 THEN 'private' ELSE 'public' END",
    "users.default_visibility": "'public'",
    "users.admin": "n % 500 = 1",
    "namespaces.kind": "'user'",
    "namespaces.user_id": "n",
    "catalog_entries.audience": "'public'",
    "manifests.kind": "'image'",
    "manifests.subject": "CASE WHEN n % 5 = 2 THEN {digest} END",
    "builds.status": "CASE n % 500 WHEN 7 THEN 'running' WHEN 8 THEN 'queued' ELSE 'succeeded' END",
    "builds.source_type": "'branch'",
    "builds.cause": "'push'",
    "builds.started_at": "{time}",
    "builds.finished_at": "CASE WHEN n % 500 NOT IN (7, 8) THEN {time} END",
    "forge_webhooks.configuration_id": "CASE WHEN n % 50 <> 1 THEN n END",
    "forge_deliveries.forge_webhook_id": "CASE WHEN n % 2 = 1 THEN 's7' ELSE 's' || (n % 1000) END",
    "forge_deliveries.outcome": "'refused'",
    "users.kind": "CASE WHEN n % 5 = 2 THEN 'organization' ELSE 'user' END",
    "users.member_role": "n % 4",
    "users.require_second_factor": "n % 20 = 2",
    "users.second_factor": "n % 3 = 0",
    "organization_members.role": "CASE WHEN n % 20 = 1 THEN 2 ELSE 1 END",
    "teams.name": f"CASE n WHEN {DELETED_TEAM} THEN '-' ELSE 's' END || n",
    "teams.applied_to": f"CASE WHEN n = {KEY} THEN '' WHEN n IN ({APPLIED_TEAM}, {DELETED_TEAM}) THEN '~' END",
    **dict.fromkeys(
        ("team_grants.role", "team_repositories.role", "collaborators.role", "invitations.role"), "1 + n % 3"
    ),
    "team_grants.repository_id": "CASE WHEN n % 20 <> 1 THEN n END",
    "team_grants.pattern": "CASE WHEN n % 20 = 1 THEN 's' || n END",
    "team_grants.like_pattern": "CASE WHEN n % 20 = 1 THEN 's' || n || '%' END",
    **{
        f"invitations.{name}": f"CASE WHEN n % 50 = {KEY} THEN {KEY} WHEN n % 2 = 0 THEN n % {PARENTS} END"
        for name in ("organization_id", "team_id", "repository_id", "user_id", "invited_by")
    },
    "personal_tokens.kind": "CASE WHEN n % 5 = 1 THEN 'robot' ELSE 'personal' END",
    "mail_messages.due_at": "CASE WHEN n % 500 = 7 THEN {time} END",
    "former_namespaces.followed_at": "CASE WHEN n % 500 <> 7 THEN {time} END",
}


def fill(dialect: Dialect, rows: int) -> Iterator[str]:
    """Yield the statements that fill all tables with ``rows`` rows each; run them without triggers and constraints."""
    for table in METADATA.sorted_tables:
        yield f'DELETE FROM "{table.name}"'
        columns = {column.name: _value(column, dialect) for column in table.columns if not column.computed}
        names = ", ".join(f'"{name}"' for name in columns)
        numbers = (
            f"generate_series(1, {rows}) AS numbers(n)"
            if dialect == "postgresql"
            else f"(WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {rows}) "
            "SELECT n FROM numbers)"
        )
        yield f'INSERT INTO "{table.name}" ({names}) SELECT {", ".join(columns.values())} FROM {numbers}'


def _value(column: Column[object], dialect: Dialect) -> str:
    table: Table = column.table
    zeros = "lpad(n::text, 64, '0')" if dialect == "postgresql" else "printf('%064d', n)"
    digest, time = f"'sha256:' || {zeros}", f"'{TIME:%Y-%m-%d %H:%M:%S}.000000'"
    if dialect == "postgresql":
        time = f"{time}::timestamptz"
    given = _VALUES.get(f"{table.name}.{column.name}")
    if given is not None:
        return given.format(digest=digest, time=time)
    value = _value_of_type(column, dialect, digest, time)
    return f"CASE WHEN n % 50 = {KEY} THEN {value} END" if column.nullable else value


def _value_of_type(column: Column[object], dialect: Dialect, digest: str, time: str) -> str:
    kind = column.type.impl_instance if isinstance(column.type, TypeDecorator) else column.type
    if isinstance(kind, Boolean):
        return "n % 500 <> 1"
    if isinstance(kind, Integer):
        return "n" if _is_unique(column) else f"CASE WHEN n % 2 = 1 THEN {KEY} ELSE n % {PARENTS} END"
    if isinstance(kind, DateTime):
        return time
    if isinstance(kind, LargeBinary):
        return "'\\x7b7d'::bytea" if dialect == "postgresql" else "x'7b7d'"
    if column.name in _JSON:
        return f"'{_JSON[column.name]}'"
    return digest if getattr(kind, "length", None) == _DIGEST_LENGTH else "'s' || n"


def _is_unique(column: Column[object]) -> bool:
    """Return whether this number makes a key unique, because it is the last of its columns and none is a text."""
    table: Table = column.table
    keys = [list(table.primary_key.columns)]
    keys += [list(each.columns) for each in table.constraints if isinstance(each, UniqueConstraint)]
    return any(
        key[-1].name == column.name and all(isinstance(each.type, Integer) or each is column for each in key)
        for key in keys
    )
