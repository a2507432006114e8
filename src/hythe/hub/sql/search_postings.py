"""Finds candidates of a search in the table of words: a bounded number of rows, the best first.

The rarest of the typed words leads: its repositories are examined for the others. A rare word is read completely. Of
the repositories with a broad one, the best are read: those with the word itself, some with longer words, and the best
of all repositories, whichever words they have.
"""

from collections.abc import Iterator, Sequence
from enum import Enum
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Select, bindparam, func, literal_column, select

from hythe.database import Session
from hythe.database.tables.hub import namespaces, search_postings
from hythe.hub.access.access_context import Reader
from hythe.hub.search.search_ranking import MAX_CANDIDATES, MAX_NAMESPACES, MAX_WALKED
from hythe.hub.sql.access_context import shared_namespaces
from hythe.hub.sql.search_terms import END

_ID = search_postings.c.repository_id
_AUDIENCE = search_postings.c.audience
_WORD = search_postings.c.word

USER_ID = bindparam("user_id", type_=namespaces.c.user_id.type)
_WHOLE = (
    select(namespaces.c.id, namespaces.c.name)
    .where(namespaces.c.user_id == USER_ID)
    .union_all(shared_namespaces(USER_ID).add_columns(namespaces.c.name))
    .limit(MAX_NAMESPACES)
)


class Audience(msgspec.Struct, frozen=True):
    """A part of the index that the reader may see: public or internal repositories, or the private of a namespace.

    ``name``: of the namespace. The index of its private repositories has only what follows it.
    """

    id: int
    name: str = ""


PUBLIC_AUDIENCE, INTERNAL_AUDIENCE = Audience(0), Audience(-1)


class Reach(Enum):
    """How much of an audience a search reads."""

    ALL = "all with the word, or a longer one"
    BEST = "the best with the word itself"
    SOME = "those with the word itself, some with longer ones, and the best of all that have one"


class Lead(msgspec.Struct, frozen=True):
    """How to search one audience: the rarest word, and the others, which its repositories are examined for."""

    audience: int
    word: str
    others: tuple[str, ...]
    reach: Reach


class SearchPlan(msgspec.Struct, frozen=True):
    """How to search. ``unmatched``: words that begin no word of the index.

    ``terms``: words of which a repository contains one, and ``others``, all of which it contains.
    """

    leads: tuple[Lead, ...] = ()
    unmatched: tuple[str, ...] = ()
    terms: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    walked: int = MAX_WALKED

    @property
    def complete(self) -> bool:
        """Whether every match of the words is a candidate."""
        return all(lead.reach is Reach.ALL for lead in self.leads)

    @property
    def cut(self) -> bool:
        """Whether walking further may find more repositories with several broad words."""
        return any(lead.reach is not Reach.ALL and lead.others for lead in self.leads)


async def audiences(session: Session, reader: Reader) -> tuple[Audience, ...]:
    """Return the audiences that contain everything the reader may see, except what is shared with them singly."""
    if reader.user_id is None:
        return (PUBLIC_AUDIENCE,)
    whole = await session.rows(_WHOLE, {"user_id": reader.user_id})
    return (PUBLIC_AUDIENCE, INTERNAL_AUDIENCE, *(Audience(row.id, row.name) for row in whole))


async def plan(session: Session, wanted: Sequence[str], searched: Sequence[Audience]) -> SearchPlan:
    """Return how to search for repositories that contain all words, or longer ones."""
    asked = [(audience, word) for audience in searched for word in _remaining(wanted, audience)]
    values: dict[str, Any] = {}
    for number, (audience, word) in enumerate(asked):
        values |= {f"audience{number}": audience.id, f"word{number}": word, f"word{number}_end": word + END}
    row = await session.row(_counts(len(asked)), values)
    found = list(row or ())
    counts = dict(zip(asked, zip(found[::2], found[1::2], strict=True), strict=True))
    leads = []
    for audience in searched:
        # A namespace whose name has all words leads with the empty one, which all contain.
        rarest, *others = sorted(_remaining(wanted, audience), key=lambda word: (*counts[audience, word], -len(word)))
        every, exact = counts[audience, rarest]
        if every:
            reach = Reach.ALL if every < MAX_WALKED else Reach.BEST if exact >= MAX_CANDIDATES else Reach.SOME
            leads.append(Lead(audience.id, rarest, tuple(others), reach))
    matched = {word for (_, word), (every, _) in counts.items() if every}
    named = {word for audience in searched for word in wanted if word not in _remaining(wanted, audience)}
    return SearchPlan(tuple(leads), tuple(word for word in wanted if word not in matched | named))


def _remaining(wanted: Sequence[str], audience: Audience) -> tuple[str, ...]:
    """Return the words that begin no part of the namespace's name; the empty word if none remains."""
    parts = [part for part in audience.name.split("-") if part]
    return tuple(word for word in wanted if not any(part.startswith(word) for part in parts)) or ("",)


@cache
def _counts(asked: int) -> Select[Any]:
    """Return the statement that counts the repositories of each word in an audience, with longer words and without.

    It counts up to MAX_WALKED, and MAX_CANDIDATES.
    """
    counts: list[ColumnElement[Any]] = []
    for number in range(asked):
        some = select(_ID).where(bindparam(f"audience{number}") == _AUDIENCE)
        every = some.where(*_begins(_WORD, f"word{number}")).limit(MAX_WALKED)
        exact = some.where(bindparam(f"word{number}") == _WORD).limit(MAX_CANDIDATES)
        counts += [_count(every).label(f"every{number}"), _count(exact).label(f"exact{number}")]
    return select(*counts)


def _count(rows: Select[tuple[int]]) -> ColumnElement[int]:
    return select(func.count()).select_from(rows.subquery()).scalar_subquery()


def _begins(column: ColumnElement[str], parameter: str) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions of words that begin with the value of a parameter."""
    return column >= bindparam(parameter), column < bindparam(f"{parameter}_end")


def contains(repository_id: ColumnElement[int], parameter: str) -> ColumnElement[bool]:
    """Return whether a repository contains a word that begins with the value of a parameter."""
    other = search_postings.alias()
    matching = select(1).where(other.c.repository_id == repository_id, *_begins(other.c.word, parameter))
    return matching.correlate_except(other).exists()


def sources(chosen: SearchPlan) -> tuple[Select[tuple[int]], ...]:
    """Return the statements that select candidates."""
    shapes = tuple((len(lead.others), lead.reach) for lead in chosen.leads)
    return _sources(shapes, len(chosen.others) if chosen.terms else None, chosen.walked)


def parameters(chosen: SearchPlan) -> dict[str, Any]:
    """Return the values of their parameters."""
    values: dict[str, Any] = {}
    for number, lead in enumerate(chosen.leads):
        values[f"audience{number}"] = lead.audience
        values |= _texts(f"lead{number}", (lead.word, *lead.others))
    if chosen.terms:
        values |= {"terms": chosen.terms, **_texts("also", chosen.others)}
    return values


def _texts(prefix: str, wanted: Sequence[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for number, word in enumerate(wanted):
        values |= {f"{prefix}_{number}": word, f"{prefix}_{number}_end": word + END}
    return values


@cache
def _sources(shapes: tuple[tuple[int, Reach], ...], also: int | None, walked: int) -> tuple[Select[tuple[int]], ...]:
    found = [source for number, shape in enumerate(shapes) for source in _of_lead(number, *shape, walked)]
    if also is not None:
        terms = select(_ID, search_postings.c.rank).where(
            _AUDIENCE.in_((PUBLIC_AUDIENCE.id, INTERNAL_AUDIENCE.id)), _WORD.in_(bindparam("terms", expanding=True))
        )
        found.append(_examined(terms.limit(walked), [f"also_{number}" for number in range(also)]))
    return tuple(found)


def _of_lead(number: int, others: int, reach: Reach, walked: int) -> Iterator[Select[tuple[int]]]:
    wanted = [f"lead{number}_{each}" for each in range(others + 1)]
    rows = select(_ID, search_postings.c.rank).where(bindparam(f"audience{number}") == _AUDIENCE)
    if reach is Reach.ALL:
        yield _examined(rows.where(*_begins(_WORD, wanted[0])).limit(MAX_WALKED), wanted[1:])
        return
    lead = bindparam(wanted[0], type_=_WORD.type)
    best = search_postings.c.rank, _ID
    enough = walked if others else MAX_CANDIDATES
    yield _examined(rows.where(lead == _WORD).order_by(*best).limit(enough), wanted[1:])
    if reach is Reach.SOME:
        longer = rows.where(lead < _WORD, bindparam(f"{wanted[0]}_end") > _WORD)
        yield _examined(longer.limit(enough), wanted[1:])
        yield _examined(rows.where(literal_column("''") == _WORD).order_by(*best).limit(MAX_WALKED // 2), wanted)


def _examined(rows: Select[tuple[int, int]], wanted: Sequence[str]) -> Select[tuple[int]]:
    """Select those of some rows whose repositories contain the words, too."""
    some = rows.subquery()
    matching = select(some.c.repository_id).where(*(contains(some.c.repository_id, word) for word in wanted))
    found = matching.order_by(some.c.rank).limit(MAX_CANDIDATES).subquery()
    return select(found.c.repository_id)
