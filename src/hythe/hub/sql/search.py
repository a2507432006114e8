"""The search query that both databases share, around each database's full-text search."""

from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Float,
    Integer,
    Select,
    and_,
    case,
    column,
    desc,
    func,
    literal,
    or_,
    select,
    union,
    union_all,
)
from sqlalchemy import text as sql

from hythe.database import Session
from hythe.database.tables.hub import hub_repositories, namespaces
from hythe.hub.page import Paging
from hythe.hub.repository import Repository
from hythe.hub.search_ranking import MAX_CANDIDATES, Tier, popularity
from hythe.hub.sql.access_context import seen_by
from hythe.hub.sql.repositories import COLUMNS, repository_of

POPULAR = f"""
SELECT repository_id FROM (
    SELECT repository_id FROM hub_repositories ORDER BY stars DESC LIMIT {MAX_CANDIDATES // 4}
) AS loved
UNION
SELECT repository_id FROM (
    SELECT repository_id FROM hub_repositories ORDER BY pulls DESC LIMIT {MAX_CANDIDATES // 4}
) AS used
"""  # noqa: S608 (of constants)

Found = tuple[tuple[Repository, ...], int]


async def ranked(
    session: Session, hits: Select[tuple[int, float]], text: str, user_id: int | None, paging: Paging
) -> Found:
    """Return a page of ``hits`` that the account may see, best first, and their number."""
    found = union_all(hits, _beginning(text)).cte("hits").prefix_with("MATERIALIZED")
    best = (
        select(found.c.repository_id, func.max(found.c.rank).label("rank")).group_by(found.c.repository_id).subquery()
    )
    statement = (
        select(*COLUMNS, func.count().over().label("total"))
        .join_from(hub_repositories, namespaces)
        .join(best, best.c.repository_id == hub_repositories.c.repository_id)
        .order_by(*_tiers(text), desc(best.c.rank + _popularity()), hub_repositories.c.name, namespaces.c.name)
    )
    return await _page(session, seen_by(statement, user_id), paging)


async def popular(session: Session, user_id: int | None, paging: Paging) -> Found:
    """Return a page of all repositories that the account may see, most popular first, and their number."""
    statement = (
        select(*COLUMNS, func.count().over().label("total"))
        .join_from(hub_repositories, namespaces)
        .where(hub_repositories.c.listed, hub_repositories.c.repository_id.in_(_well_known()))
        .order_by(desc(_popularity()), hub_repositories.c.name, namespaces.c.name)
    )
    return await _page(session, seen_by(statement, user_id), paging)


def hits_of(statement: str, **parameters: str) -> Select[tuple[int, float]]:
    """Return the rows of a database's full-text statement, as ``repository_id`` and ``rank``."""
    found = sql(statement).bindparams(**parameters)
    rows = found.columns(column("repository_id", Integer), column("rank", Float)).subquery("found")
    return select(rows.c.repository_id, rows.c.rank)


def _beginning(text: str) -> Select[tuple[int, float]]:
    """Select the repositories whose names start with the text, by the index of names."""
    named = and_(hub_repositories.c.name >= text, hub_repositories.c.name < text + "\U0010ffff")
    rows = select(hub_repositories.c.repository_id, literal(0.0).label("rank")).where(named, hub_repositories.c.listed)
    found = rows.order_by(hub_repositories.c.name).limit(MAX_CANDIDATES).subquery()
    return select(found.c.repository_id, found.c.rank)


def _well_known() -> CompoundSelect[tuple[int]]:
    """The repositories with the most stars, the most pulls, and the newest."""
    number = hub_repositories.c.repository_id
    parts = [
        select(number).where(hub_repositories.c.listed).order_by(desc(by)).limit(MAX_CANDIDATES // 2).subquery()
        for by in (hub_repositories.c.stars, hub_repositories.c.pulls, hub_repositories.c.created_at)
    ]
    return union(*(select(part.c.repository_id) for part in parts))


def _tiers(text: str) -> tuple[ColumnElement[Any], ...]:
    """Return the sort keys before the rank: the tier, then official repositories."""
    name, full = hub_repositories.c.name, namespaces.c.name + "/" + hub_repositories.c.name
    exact = or_(name == text, full == text)
    begins = or_(name.startswith(text, autoescape=True), full.startswith(text, autoescape=True))
    tier = case((exact, Tier.EXACT_NAME.value), (begins, Tier.NAME_PREFIX.value), else_=Tier.OTHER.value)
    return tier, desc(hub_repositories.c.official)


def _popularity() -> ColumnElement[Any]:
    stars, pulls = hub_repositories.c.stars, hub_repositories.c.pulls
    added: ColumnElement[Any] = popularity(literal(1.0) * stars, literal(1.0) * pulls)
    return added


async def _page(session: Session, statement: Select[Any], paging: Paging) -> Found:
    rows = await session.rows(statement.offset(paging.offset).limit(paging.page_size))
    if rows or not paging.offset:
        return tuple(repository_of(row) for row in rows), int(rows[0].total) if rows else 0
    first = await session.row(statement.limit(1))  # page after the last one
    return (), int(first.total) if first else 0
