"""Search in the database: what is the same on both, put around what each finds by full text."""

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
from hythe.hub.sql.access_context import seen_by
from hythe.hub.sql.repositories import COLUMNS, repository_of

_STARS_HALF = 10.0
"""With so many stars a repository has half of what stars can add to its rank; so with pulls."""

_PULLS_HALF = 1000.0

MOST_HITS = 2000
"""How many that fit by words are ranked, beside the popular ones and those whose name begins so: a search takes about
as long on a large hub as on a small one. The number of results counts what was ranked."""

POPULAR = f"""
SELECT repository_id FROM (
    SELECT repository_id FROM hub_repositories ORDER BY stars DESC LIMIT {MOST_HITS // 4}
) AS loved
UNION
SELECT repository_id FROM (
    SELECT repository_id FROM hub_repositories ORDER BY pulls DESC LIMIT {MOST_HITS // 4}
) AS used
"""  # noqa: S608 (of constants)

Found = tuple[tuple[Repository, ...], int]


async def ranked(
    session: Session, hits: Select[tuple[int, float]], text: str, user_id: int | None, paging: Paging
) -> Found:
    """Return a page of ``hits`` that the account sees, the likeliest first, and the number of all of them."""
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
    """Return a page of all repositories that the account sees, the popular first, and their number."""
    statement = (
        select(*COLUMNS, func.count().over().label("total"))
        .join_from(hub_repositories, namespaces)
        .where(hub_repositories.c.listed, hub_repositories.c.repository_id.in_(_well_known()))
        .order_by(desc(_popularity()), hub_repositories.c.name, namespaces.c.name)
    )
    return await _page(session, seen_by(statement, user_id), paging)


def hits_of(statement: str, **parameters: str) -> Select[tuple[int, float]]:
    """Return what a database's own full-text statement finds, as rows of ``repository_id`` and ``rank``."""
    found = sql(statement).bindparams(**parameters)
    rows = found.columns(column("repository_id", Integer), column("rank", Float)).subquery("found")
    return select(rows.c.repository_id, rows.c.rank)


def _beginning(text: str) -> Select[tuple[int, float]]:
    """The repositories whose name begins so, by the index of names."""
    named = and_(hub_repositories.c.name >= text, hub_repositories.c.name < text + "\U0010ffff")
    rows = select(hub_repositories.c.repository_id, literal(0.0).label("rank")).where(named, hub_repositories.c.listed)
    found = rows.order_by(hub_repositories.c.name).limit(MOST_HITS).subquery()
    return select(found.c.repository_id, found.c.rank)


def _well_known() -> CompoundSelect[tuple[int]]:
    """The repositories with the most stars, the most pulls, and the newest."""
    number = hub_repositories.c.repository_id
    parts = [
        select(number).where(hub_repositories.c.listed).order_by(desc(by)).limit(MOST_HITS // 2).subquery()
        for by in (hub_repositories.c.stars, hub_repositories.c.pulls, hub_repositories.c.created_at)
    ]
    return union(*(select(part.c.repository_id) for part in parts))


def _tiers(text: str) -> tuple[ColumnElement[Any], ...]:
    """What comes first whatever the text rank says: exact names, beginnings of names, official ones."""
    name, full = hub_repositories.c.name, namespaces.c.name + "/" + hub_repositories.c.name
    exact = or_(name == text, full == text)
    begins = or_(name.startswith(text, autoescape=True), full.startswith(text, autoescape=True))
    tier = case((exact, 0), (begins, 1), else_=2)
    return tier, desc(hub_repositories.c.official)


def _popularity() -> ColumnElement[Any]:
    stars, pulls = hub_repositories.c.stars, hub_repositories.c.pulls
    return literal(1.0) * stars / (stars + _STARS_HALF) + literal(1.0) * pulls / (pulls + _PULLS_HALF)


async def _page(session: Session, statement: Select[Any], paging: Paging) -> Found:
    rows = await session.rows(statement.offset(paging.offset).limit(paging.page_size))
    if rows or not paging.offset:
        return tuple(repository_of(row) for row in rows), int(rows[0].total) if rows else 0
    first = await session.row(statement.limit(1))  # a page behind the last
    return (), int(first.total) if first else 0
