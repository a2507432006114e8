"""Words of names and descriptions, distributed as in a real hub: the n-th most frequent one is in 1/n as many."""

from __future__ import annotations

import random

OWNER = "bench-owner"
"""The account with the most repositories."""

BROAD_WORD = "server"
"""The word in a tenth of all descriptions."""

BROAD_SHARE = 0.1

VOCABULARY = 60_000

_FREQUENT = """
web app docker image api node python java alpine nginx test data service proxy redis php go db tool
build base cache client worker queue auth monitor search log mail static admin demo backend frontend
linux ubuntu debian mysql postgres mongo kafka backup gateway agent runner deploy cloud config
scheduler stream video audio game bot blog shop wiki chat crawler parser model train report metrics
dashboard storage sync file upload image-tools vault builder compiler editor example starter template
devops network dns vpn tunnel ssh git ci jenkins rust ruby rails django flask spring react vue angular
wordpress drupal elastic kibana grafana prometheus consul etcd swarm
"""
_CONSONANTS = "b c d f g h j k l m n p r s t v w z br cr dr gr pr st tr th ch sh"
_VOWELS = "a e i o u ai ea ee ou io"
_GLUE = ("for", "the", "with", "and", "a", "of", "on", "to", "in", "your")


def _vocabulary() -> list[str]:
    source = random.Random(0)
    words = dict.fromkeys(word for word in _FREQUENT.split() if word != BROAD_WORD)
    consonants, vowels = _CONSONANTS.split(), _VOWELS.split()
    while len(words) < VOCABULARY:
        syllables = source.choice((2, 2, 3, 3, 4))
        word = "".join(source.choice(consonants) + source.choice(vowels) for _ in range(syllables))
        words[word + source.choice(("", "n", "r", "x", "s"))] = None
    return list(words)


class Words:
    """Draws words from a vocabulary of pronounceable ones."""

    def __init__(self) -> None:
        self._words = _vocabulary()

    def word(self, source: random.Random) -> str:
        """Return one word."""
        return self._words[int(VOCABULARY ** source.random()) - 1]

    def name(self, source: random.Random) -> str:
        """Return the name of a repository: one to three words."""
        count = source.choice((1, 2, 2, 2, 3))
        return "-".join(self.word(source) for _ in range(count))

    def description(self, source: random.Random) -> str:
        """Return a description of at most 100 characters; empty for one in five."""
        if source.random() < 0.2:
            return ""
        words = [
            source.choice(_GLUE) if number % 3 == 2 else self.word(source) for number in range(source.randint(3, 12))
        ]
        if source.random() < BROAD_SHARE / 0.8:
            words[0] = BROAD_WORD
        return " ".join(words)[:100].capitalize()
