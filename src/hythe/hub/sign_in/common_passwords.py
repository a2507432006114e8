"""Refuses passwords that guessing programs try first: common ones, and those with the account's own name.

The list is that of zxcvbn: 30,000 passwords that were leaked most often.
"""

import functools
from collections.abc import Iterable

MAX_APPENDED = 4
"""Digits and signs after a common password that do not make it better: ``dragon2024``, ``password!1``."""

SHORTEST_NAME = 4
"""A name of this length must not be part of a password. Shorter ones are part of many words by chance."""

_LEET = str.maketrans("013457@$!", "oleastasi")


def weakness(password: str, enough: int, names: Iterable[str]) -> str | None:
    """Explain why a password is easy to guess for an account with these names; None if it is not known to be.

    ``enough``: characters that a password must have besides a short name. Takes 0.1 s at first, then microseconds.
    """
    lowered = password.lower()
    for name in filter(None, {name.lower() for name in names}):
        if name in lowered and (len(name) >= SHORTEST_NAME or len(lowered.replace(name, "")) < enough):
            return "must not contain your user name or e-mail address"
    if any(form in _common() for form in _forms(lowered)):
        return "is one of the most common passwords, which are guessed first: choose another one"
    if len(set(lowered)) < 3:
        return "must have more different characters"
    return None


def _forms(lowered: str) -> frozenset[str]:
    """Return a password without its usual disguise: letters for digits, and something appended."""
    bare = lowered
    while bare and not bare[-1].isalpha() and len(lowered) - len(bare) < MAX_APPENDED:
        bare = bare[:-1]
    return frozenset({lowered, lowered.translate(_LEET), bare, bare.translate(_LEET)} - {""})


@functools.cache
def _common() -> frozenset[str]:
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    return frozenset(FREQUENCY_LISTS["passwords"])
