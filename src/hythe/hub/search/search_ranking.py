"""How search ranks repositories: the order of tiers, the weights, and how many candidates are ranked.

``search.py`` explains the order to users; the modules ``sql/search*.py`` turn these values into statements.
"""

from enum import IntEnum
from typing import Any


class Tier(IntEnum):
    """The first sort key; within a tier official repositories come first, then the best rank."""

    EXACT_NAME = 0
    NAME_PREFIX = 1
    OTHER = 2


NAME_RANK = 0.8
"""The rank of a repository whose name contains every word."""

DESCRIPTION_RANK = 0.4
"""The rank of a repository that contains some of the words only in its description."""

STARS_HALF = 10.0
"""With this many stars a repository gets half the rank that stars can add."""

PULLS_HALF = 1000.0
"""With this many pulls a repository gets half the rank that pulls can add."""

MAX_CANDIDATES = 300
"""Maximum number of matches to rank of each kind: of words, of longer words, of parts of names.

It makes a search take about as long on a large hub as on a small one. The total of the results counts the candidates.
"""

MAX_NAMES = 100
"""Maximum number of names with the typed beginning to rank, of each kind."""

MAX_WALKED = 1000
"""Repositories with one word, the best first, that are examined for the other words."""

MAX_WALKED_FAR = 3000
"""The same if that found few."""

FEW = 25
"""With fewer results a search examines more: further repositories, and words that contain the typed one."""

MAX_GRANTED = 2000
"""Maximum number of repositories shared with an account that are compared with the words."""

MAX_NAMESPACES = 20
"""Maximum number of namespaces whose private repositories are searched: the account's own and its organizations'."""

MAX_TERMS = 50
"""Maximum number of words that replace a typed one, because they contain or resemble it."""


def popularity(stars: Any, pulls: Any) -> Any:
    """Return what stars and pulls add to the text rank, from 0 to 2; takes numbers or SQL expressions."""
    return stars / (stars + STARS_HALF) + pulls / (pulls + PULLS_HALF)
