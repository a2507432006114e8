"""Words of names that contain a typed word, or that resemble it. There are far fewer words than repositories."""

from sqlalchemy import bindparam, select

from hythe.database import Session
from hythe.database.tables.hub import search_term_forms
from hythe.hub.search.search_ranking import MAX_TERMS

SHORTEST_PART, SHORTEST_TYPO, LONGEST_TERM = 3, 4, 32
"""The lengths of words that have forms (migration 0033)."""

MAX_DISTANCE = 2
"""Letters that are wrong, missing, too many or swapped with the next in a typed word."""

END = "\U0010ffff"
"""Follows every text with the same beginning."""

_FORM = search_term_forms.c.form
_CONTAINING = (
    select(search_term_forms.c.term)
    .where(search_term_forms.c.kind == "s", bindparam("word") <= _FORM, bindparam("word_end") > _FORM)
    .order_by(_FORM)
    .limit(MAX_TERMS)
)
_RESEMBLING = (
    select(search_term_forms.c.term)
    .where(search_term_forms.c.kind == "d", _FORM.in_(bindparam("forms", expanding=True)))
    .order_by(_FORM)
    .limit(4 * MAX_TERMS)
)


async def containing(session: Session, word: str) -> tuple[str, ...]:
    """Return some words of names that contain the word."""
    if not SHORTEST_PART <= len(word) <= LONGEST_TERM:
        return ()
    rows = await session.rows(_CONTAINING, {"word": word, "word_end": word + END})
    return tuple(dict.fromkeys(row.term for row in rows))


async def resembling(session: Session, word: str) -> tuple[str, ...]:
    """Return the words of names that resemble the word most, the most similar first."""
    if not SHORTEST_TYPO <= len(word) <= LONGEST_TERM:
        return ()
    forms = {word, *(word[:at] + word[at + 1 :] for at in range(len(word)))}
    found = {row.term for row in await session.rows(_RESEMBLING, {"forms": sorted(forms)})}
    distances = {term: _distance(word, term) for term in found}
    near = min(distances.values(), default=MAX_DISTANCE + 1)
    if near > MAX_DISTANCE:
        return ()
    return tuple(sorted(term for term in found if distances[term] == near))[:MAX_TERMS]


def _distance(one: str, other: str) -> int:
    """Return how many letters were replaced, left out, added, or swapped with the next one."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for at, letter in enumerate(one, 1):
        row, before, last = [at], row, before
        for to, different in enumerate(other, 1):
            least = min(before[to] + 1, row[to - 1] + 1, before[to - 1] + (letter != different))
            if at > 1 and to > 1 and letter == other[to - 2] and one[at - 2] == different:
                least = min(least, last[to - 2] + 1)
            row.append(least)
    return row[-1]
