"""The statement that ranks what a search found, and the repositories that it always ranks.

Every part of it reads a bounded number of rows, in the order of an index, so that a common word costs as much as a rare
one. ``search_postings`` finds the repositories with the typed words.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Select, and_, bindparam, case, desc, func, literal, or_, select, union
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from hythe.database import Session
from hythe.database.tables.hub import hub_repositories, namespaces
from hythe.hub.access.access_context import Reader
from hythe.hub.page import Page, Paging, Position
from hythe.hub.repositories.repository import Repository
from hythe.hub.search.search_query import SearchQuery
from hythe.hub.search.search_ranking import (
    DESCRIPTION_RANK,
    MAX_CANDIDATES,
    MAX_GRANTED,
    MAX_NAMES,
    NAME_RANK,
    Tier,
    popularity,
)
from hythe.hub.sql import search_postings as postings
from hythe.hub.sql.access_context import INTERNAL, PUBLIC, granted_ids, is_granted
from hythe.hub.sql.repositories import COLUMNS, repository_of
from hythe.hub.sql.search_postings import USER_ID, Audience, SearchPlan
from hythe.hub.sql.search_terms import END

_ID = hub_repositories.c.repository_id
_LISTED_PUBLIC = (hub_repositories.c.listed, PUBLIC)
_LISTED_INTERNAL = (hub_repositories.c.listed, INTERNAL)
# Not joined: PostgreSQL would rather read all namespaces than look up hundreds.
_NAMESPACE = (
    select(namespaces.c.name)
    .where(namespaces.c.id == hub_repositories.c.namespace_id)
    .correlate(hub_repositories)
    .scalar_subquery()
)
_Found: TypeAlias = ReadOnlyColumnCollection[str, Any]
"""The columns by which candidates are ranked."""

_ROWS = select(*COLUMNS).join_from(hub_repositories, namespaces).where(_ID.in_(bindparam("ids", expanding=True)))


async def ranked(
    session: Session,
    query: SearchQuery,
    searched: Sequence[Audience],
    plan: SearchPlan,
    reader: Reader,
    paging: Paging,
) -> Page[Repository]:
    """Return a page of the matches that the account may see, best first.

    They are what ``plan`` finds, names with the typed beginning, and the matches among the repositories that are shared
    with the account.
    """
    namespace, _, name = query.text.rpartition("/")
    values = {
        "typed": query.text,
        "typed_end": query.text + END,
        "beginning": f"{_escaped(query.text)}%",
        "in_namespace": namespace,
        "in_name": name,
        "in_name_end": name + END,
        **{f"own{number}": audience.id for number, audience in enumerate(searched) if audience.id > 0},
        **postings.parameters(plan),
    }
    words = query.indexed_words(session.dialect)
    for number, word in enumerate(words):
        values |= {f"word{number}": f"%{_escaped(word)}%", f"begun{number}": f"% {_escaped(word)}%"}
        values |= {f"held{number}": word, f"held{number}_end": word + END}
    signed_in = reader.user_id is not None
    statement = _ranked(postings.sources(plan), len(words), len(searched), signed_in)
    return await _page(session, statement, values, reader, paging, complete=plan.complete)


async def popular(session: Session, searched: Sequence[Audience], reader: Reader, paging: Paging) -> Page[Repository]:
    """Return a page of the best-known and newest repositories that the account may see, most popular first."""
    own = {f"own{number}": audience.id for number, audience in enumerate(searched) if audience.id > 0}
    statement = _best_known(len(searched), reader.user_id is not None)
    return await _page(session, statement, own, reader, paging, complete=True)


@cache
def _ranked(found: tuple[Select[tuple[int]], ...], words: int, audiences: int, signed_in: bool) -> Select[Any]:
    """Return the statement for searches of this shape. Building one takes some milliseconds."""
    official = hub_repositories.c.official.is_(True)
    sources = [*found, _beginning(*_LISTED_PUBLIC), _beginning(official), _of_namespace()]
    if signed_in:
        sources += [_beginning(*_LISTED_INTERNAL), _granted(words)]
        sources += [_beginning(here) for here in _own(audiences)]
    return _statement(sources, _best_first(words), audiences if signed_in else None)


@cache
def _best_known(audiences: int, signed_in: bool) -> Select[Any]:
    sources = [
        _first(select(_ID).where(*_LISTED_PUBLIC).order_by(desc(by)).limit(MAX_CANDIDATES))
        for by in (hub_repositories.c.stars, hub_repositories.c.pulls, hub_repositories.c.created_at)
    ]
    if signed_in:
        internal = select(_ID).where(*_LISTED_INTERNAL).order_by(hub_repositories.c.name)
        sources.append(_first(internal.limit(MAX_CANDIDATES)))
        sources.append(_first(_granted_ids().limit(MAX_CANDIDATES)))
    for here in _own(audiences):
        latest = select(_ID).where(here, hub_repositories.c.listed).order_by(hub_repositories.c.updated_at.desc())
        sources.append(_first(latest.limit(MAX_CANDIDATES)))
    return _statement(sources, lambda found: (desc(_popularity(found)),), audiences if signed_in else None)


def _own(audiences: int) -> list[ColumnElement[bool]]:
    """Return the condition of each namespace of the reader; the first two audiences have none."""
    return [hub_repositories.c.namespace_id == bindparam(f"own{number}") for number in range(2, audiences)]


def _first(statement: Select[tuple[int]]) -> Select[tuple[int]]:
    """Return the rows of a statement with a limit as a part of a UNION."""
    rows = statement.subquery()
    return select(rows.c.repository_id)


def _beginning(*condition: ColumnElement[bool]) -> Select[tuple[int]]:
    """Select the repositories whose names start with the text, by the indexes of names."""
    name = hub_repositories.c.name
    statement = select(_ID).where(name >= bindparam("typed"), name < bindparam("typed_end"), *condition)
    return _first(statement.order_by(name).limit(MAX_NAMES))


def _of_namespace() -> Select[tuple[int]]:
    """Select the repositories of the namespace before the slash whose names start with what follows it."""
    name = hub_repositories.c.name
    statement = (
        select(_ID)
        .join_from(namespaces, hub_repositories, hub_repositories.c.namespace_id == namespaces.c.id)
        .where(namespaces.c.name == bindparam("in_namespace"))
        .where(name >= bindparam("in_name"), name < bindparam("in_name_end"))
    )
    return _first(statement.order_by(name).limit(MAX_NAMES))


def _granted_ids() -> Select[tuple[int]]:
    ids = granted_ids(USER_ID).subquery()
    return select(ids.c.repository_id)


def _granted(words: int) -> Select[tuple[int]]:
    """Select those of the repositories that are shared with the account that contain the words."""
    some = _granted_ids().limit(MAX_GRANTED).subquery()
    parts = " " + func.replace(_NAMESPACE, "-", " ")
    matching = (
        select(_ID)
        .select_from(some)
        .join(hub_repositories, some.c.repository_id == _ID)
        .where(*(or_(postings.contains(_ID, f"held{each}"), _like(parts, f"begun{each}")) for each in range(words)))
    )
    return _first(matching.limit(MAX_CANDIDATES))


def _like(text: ColumnElement[str], parameter: str) -> ColumnElement[bool]:
    return func.lower(text).like(bindparam(parameter), escape="/")


def _escaped(text: str) -> str:
    return text.replace("/", "//").replace("%", "/%").replace("_", "/_")


def _statement(
    sources: Sequence[Select[tuple[int]]],
    order: Callable[[_Found], Sequence[ColumnElement[Any]]],
    audiences: int | None,
) -> Select[Any]:
    """Return the statement that ranks what the account may see; ``audiences`` None: an anonymous client."""
    candidates = union(*sources).cte("candidates").prefix_with("MATERIALIZED")
    columns = (_ID, *(hub_repositories.c[name] for name in ("name", "official", "stars", "pulls")))
    seen = PUBLIC if audiences is None else or_(PUBLIC, INTERNAL, *_own(audiences), is_granted(USER_ID))
    found = (
        select(*columns, _NAMESPACE.label("namespace"))
        .select_from(candidates)
        .join(hub_repositories, candidates.c.repository_id == _ID)
        .where(hub_repositories.c.listed, seen)
        .cte("found")
        .prefix_with("MATERIALIZED")
    )
    return (
        select(found.c.repository_id, func.count().over().label("total"))
        .order_by(*order(found.c), found.c.name, found.c.namespace)
        .limit(bindparam("page_size"))
        .offset(bindparam("skipped"))
    )


def _best_first(words: int) -> Callable[[_Found], Sequence[ColumnElement[Any]]]:
    """Return the sort keys: the tier, then official repositories, then the rank."""

    def keys(found: _Found) -> Sequence[ColumnElement[Any]]:
        full_name = found.namespace + "/" + found.name
        typed = bindparam("typed", type_=found.name.type)
        exact = or_(found.name == typed, typed == full_name)
        begins = or_(_like(found.name, "beginning"), _like(full_name, "beginning"))
        tier = case((exact, Tier.EXACT_NAME.value), (begins, Tier.NAME_PREFIX.value), else_=Tier.OTHER.value)
        named = and_(*(_like(full_name, f"word{number}") for number in range(words)))
        rank = case((named, NAME_RANK), else_=DESCRIPTION_RANK)
        return tier, desc(found.official), desc(rank + _popularity(found))

    return keys


def _popularity(found: _Found) -> ColumnElement[Any]:
    added: ColumnElement[Any] = popularity(literal(1.0) * found.stars, literal(1.0) * found.pulls)
    return added


async def _page(
    session: Session,
    statement: Select[Any],
    parameters: Mapping[str, Any],
    reader: Reader,
    paging: Paging,
    *,
    complete: bool,
) -> Page[Repository]:
    """Return a page of the results of a statement; its cursors are numbers of results.

    ``complete``: the statement finds everything that matches, unless it finds MAX_CANDIDATES.
    """
    offset = _offset(paging)
    values = {**parameters, "page_size": paging.page_size, "skipped": offset}
    if reader.user_id is not None:
        values["user_id"] = reader.user_id
    rows = await session.rows(statement, values)
    if not rows and offset:  # page after the last one
        first = await session.row(statement, {**values, "page_size": 1, "skipped": 0})
        return Page((), int(first.total) if first else 0, paging)
    total = int(rows[0].total) if rows else 0
    by_id = {row.repository_id: row for row in await session.rows(_ROWS, {"ids": [row.repository_id for row in rows]})}
    end = offset + len(rows)
    return Page(
        tuple(repository_of(by_id[row.repository_id]) for row in rows if row.repository_id in by_id),
        total,
        paging,
        next=str(Position(False, (end,))) if end < total else "",
        previous=str(Position(False, (max(offset - paging.page_size, 0),))) if offset else "",
        total_exact=complete and total < MAX_CANDIDATES,
    )


def _offset(paging: Paging) -> int:
    """Return the number of results before a page. Raises Invalid."""
    if not paging.cursor:
        return paging.offset
    (offset,) = Position.parse(paging.cursor, int).key
    return min(max(int(str(offset)), 0), MAX_CANDIDATES * 10)
