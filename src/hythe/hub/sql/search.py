"""The search query that both databases share, around each database's full-text search.

Every part of it reads a bounded number of rows, in the order of an index, so that a common word costs as much as a rare
one. The full-text search contains public repositories only, so that a search does not read others' private ones.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    and_,
    bindparam,
    case,
    column,
    desc,
    func,
    literal,
    or_,
    select,
    union,
)
from sqlalchemy import text as sql

from hythe.database import Session
from hythe.database.tables.hub import hub_repositories, namespaces, search_documents
from hythe.hub.access.access_context import Reader
from hythe.hub.page import Page, Paging, Position
from hythe.hub.repositories.repository import Repository
from hythe.hub.search.search_index import SearchHits, SearchQuery
from hythe.hub.search.search_ranking import (
    DESCRIPTION_RANK,
    MAX_CANDIDATES,
    MAX_NAMESPACES,
    MAX_OWN,
    NAME_RANK,
    Tier,
    popularity,
)
from hythe.hub.sql.access_context import (
    INTERNAL,
    PRIVATE,
    PUBLIC,
    granted_ids,
    seen_by_account,
    shared_namespaces,
)
from hythe.hub.sql.repositories import COLUMNS, repository_of

_ID = hub_repositories.c.repository_id
_LISTED_PUBLIC = (hub_repositories.c.listed, PUBLIC)
_LISTED_INTERNAL = (hub_repositories.c.listed, INTERNAL)
_USER_ID = bindparam("user_id", type_=namespaces.c.user_id.type)
_WHOLE = (
    select(namespaces.c.id)
    .where(namespaces.c.user_id == _USER_ID)
    .union_all(shared_namespaces(_USER_ID))
    .limit(MAX_NAMESPACES)
)
_FULL_NAME = namespaces.c.name + "/" + hub_repositories.c.name
_ROWS = select(*COLUMNS).join_from(hub_repositories, namespaces).where(_ID.in_(bindparam("ids", expanding=True)))


async def ranked(
    session: Session, query: SearchQuery, hits: SearchHits, reader: Reader, paging: Paging
) -> Page[Repository]:
    """Return a page of the matches that the account may see, best first.

    They are ``hits`` of the full-text search, popular repositories, names with the typed beginning, and the private
    repositories that the account has a role on.
    """
    words = {f"word{number}": f"%{_escaped(word)}%" for number, word in enumerate(query.words)}
    begun = {f"begun{number}": f"% {_escaped(word)}%" for number, word in enumerate(query.words)}
    text = {"typed": query.text, "typed_end": query.text + "\U0010ffff", "beginning": f"{_escaped(query.text)}%"}
    own = await _whole(session, reader)
    statement = _ranked(hits.statements, len(query.words), None if own is None else len(own))
    return await _page(
        session, statement, {**words, **begun, **text, **hits.parameters, **_numbered(own)}, reader, paging
    )


async def popular(session: Session, reader: Reader, paging: Paging) -> Page[Repository]:
    """Return a page of the best-known and newest repositories that the account may see, most popular first."""
    own = await _whole(session, reader)
    return await _page(session, _best_known(None if own is None else len(own)), _numbered(own), reader, paging)


async def _whole(session: Session, reader: Reader) -> tuple[int, ...] | None:
    """Return the ids of namespaces in which the account may read everything; None for anonymous clients."""
    if reader.user_id is None:
        return None
    return tuple(int(row.id) for row in await session.rows(_WHOLE, {"user_id": reader.user_id}))


def _numbered(ids: tuple[int, ...] | None) -> dict[str, int]:
    return {f"namespace{number}": each for number, each in enumerate(ids or ())}


@cache
def _ranked(hits: tuple[Select[tuple[int]], ...], words: int, own: int | None) -> Select[Any]:
    """Return the statement for searches with this number of words, by an account with ``own`` whole namespaces.

    Building one takes some milliseconds. ``own`` None: for anonymous clients.
    """
    sources = [*hits, _popular(words), _beginning(*_LISTED_PUBLIC)]
    if own is not None:
        sources += [_beginning(*_LISTED_INTERNAL), _granted(words)]
        for number in range(own):
            here = hub_repositories.c.namespace_id == bindparam(f"namespace{number}")
            sources += [_private(words, here, MAX_OWN // own), _beginning(here)]
    named = and_(*(_like(_FULL_NAME, f"word{number}") for number in range(words)))
    rank = case((named, NAME_RANK), else_=DESCRIPTION_RANK)
    return _statement(sources, (*_tiers(), desc(rank + _popularity())), signed_in=own is not None)


@cache
def _best_known(own: int | None) -> Select[Any]:
    sources = [
        _first(select(_ID).where(*_LISTED_PUBLIC).order_by(desc(by)).limit(MAX_CANDIDATES))
        for by in (hub_repositories.c.stars, hub_repositories.c.pulls, hub_repositories.c.created_at)
    ]
    if own is not None:
        internal = select(_ID).where(*_LISTED_INTERNAL).order_by(hub_repositories.c.name)
        sources.append(_first(internal.limit(MAX_CANDIDATES)))
        sources.append(_first(_granted_ids().limit(MAX_CANDIDATES)))
    for number in range(own or 0):
        here = (hub_repositories.c.namespace_id == bindparam(f"namespace{number}"), hub_repositories.c.listed)
        latest = select(_ID).where(*here).order_by(hub_repositories.c.updated_at.desc())
        sources.append(_first(latest.limit(MAX_CANDIDATES)))
    return _statement(sources, (desc(_popularity()),), signed_in=own is not None)


def hits_of(statement: str, at_most: int) -> Select[tuple[int]]:
    """Return the ``repository_id`` of the first rows of a database's full-text statement."""
    rows = sql(f"{statement} LIMIT {at_most}").columns(column("repository_id", Integer)).subquery("found")
    return select(rows.c.repository_id)


def _first(statement: Select[tuple[int]]) -> Select[tuple[int]]:
    """Return the rows of a statement with a limit as a part of a UNION."""
    rows = statement.subquery()
    return select(rows.c.repository_id)


def _popular(words: int) -> Select[tuple[int]]:
    """Select those of the repositories with the most stars and pulls that contain the words."""
    best = union(
        *(
            _first(select(_ID).where(*_LISTED_PUBLIC).order_by(desc(by)).limit(MAX_CANDIDATES // 2))
            for by in (hub_repositories.c.stars, hub_repositories.c.pulls)
        )
    ).subquery()
    documents = select(search_documents.c.repository_id).join(
        best, best.c.repository_id == search_documents.c.repository_id
    )
    return documents.where(*_contains(search_documents.c.name + " " + search_documents.c.description, words))


def _beginning(*condition: ColumnElement[bool]) -> Select[tuple[int]]:
    """Select the repositories whose names start with the text, by the indexes of names."""
    name = hub_repositories.c.name
    statement = select(_ID).where(name >= bindparam("typed"), name < bindparam("typed_end"), *condition)
    return _first(statement.order_by(name).limit(MAX_CANDIDATES))


def _private(words: int, here: ColumnElement[bool], at_most: int) -> Select[tuple[int]]:
    """Select those of a namespace's latest private repositories that contain the words."""
    latest = (
        select(_ID)
        .where(here, hub_repositories.c.listed, PRIVATE)
        .order_by(hub_repositories.c.updated_at.desc(), hub_repositories.c.name.desc())
        .limit(at_most)
    )
    return _matching(latest, words)


def _granted_ids() -> Select[tuple[int]]:
    ids = granted_ids(_USER_ID).subquery()
    return select(ids.c.repository_id)


def _granted(words: int) -> Select[tuple[int]]:
    """Select those of the repositories that are shared with the account that contain the words."""
    return _matching(_granted_ids().limit(MAX_OWN), words)


def _matching(ids: Select[tuple[int]], words: int) -> Select[tuple[int]]:
    some = ids.subquery()
    text = _FULL_NAME + " " + hub_repositories.c.description
    matching = (
        select(_ID)
        .select_from(some)
        .join(hub_repositories, some.c.repository_id == _ID)
        .join(namespaces, namespaces.c.id == hub_repositories.c.namespace_id)
        .where(*_contains(text, words))
    )
    return _first(matching.limit(MAX_CANDIDATES))


def _contains(text: ColumnElement[str], words: int) -> list[ColumnElement[bool]]:
    """Return whether a text contains words that begin with the typed ones: first the conditions that are fast."""
    spaced = text
    for separator in "/-_.":
        spaced = func.replace(spaced, separator, " ")
    fast = [_like(text, f"word{number}") for number in range(words)]
    return [*fast, *(_like(" " + spaced, f"begun{number}") for number in range(words))]


def _like(text: ColumnElement[str], parameter: str) -> ColumnElement[bool]:
    return func.lower(text).like(bindparam(parameter), escape="/")


def _escaped(text: str) -> str:
    return text.replace("/", "//").replace("%", "/%").replace("_", "/_")


def _tiers() -> tuple[ColumnElement[Any], ...]:
    """Return the sort keys before the rank: the tier, then official repositories."""
    name, typed = hub_repositories.c.name, bindparam("typed", type_=hub_repositories.c.name.type)
    exact = or_(name == typed, typed == _FULL_NAME)
    begins = or_(_like(name, "beginning"), _like(_FULL_NAME, "beginning"))
    tier = case((exact, Tier.EXACT_NAME.value), (begins, Tier.NAME_PREFIX.value), else_=Tier.OTHER.value)
    return tier, desc(hub_repositories.c.official)


def _popularity() -> ColumnElement[Any]:
    stars, pulls = hub_repositories.c.stars, hub_repositories.c.pulls
    added: ColumnElement[Any] = popularity(literal(1.0) * stars, literal(1.0) * pulls)
    return added


def _statement(
    sources: Sequence[Select[tuple[int]]], order: Sequence[ColumnElement[Any]], *, signed_in: bool
) -> Select[Any]:
    candidates = union(*sources).cte("candidates").prefix_with("MATERIALIZED")
    seen = seen_by_account(_USER_ID) if signed_in else PUBLIC
    return (
        select(_ID, func.count().over().label("total"))
        .select_from(candidates)
        .join(hub_repositories, candidates.c.repository_id == _ID)
        .join(namespaces, namespaces.c.id == hub_repositories.c.namespace_id)
        .where(hub_repositories.c.listed, seen)
        .order_by(*order, hub_repositories.c.name, namespaces.c.name)
        .limit(bindparam("page_size"))
        .offset(bindparam("skipped"))
    )


async def _page(
    session: Session, statement: Select[Any], parameters: Mapping[str, Any], reader: Reader, paging: Paging
) -> Page[Repository]:
    """Return a page of the results of a statement; its cursors are numbers of results."""
    offset = _offset(paging)
    values = {**parameters, "page_size": paging.page_size, "skipped": offset}
    if reader.nothing:
        return Page((), 0, paging)
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
        total_exact=total < MAX_CANDIDATES,
    )


def _offset(paging: Paging) -> int:
    """Return the number of results before a page. Raises Invalid."""
    if not paging.cursor:
        return paging.offset
    (offset,) = Position.parse(paging.cursor, int).key
    return min(max(int(str(offset)), 0), MAX_CANDIDATES * 10)
