"""Answers to pulls of manifests, remembered for a moment: many engines ask for the same tag at the same time.

Such an answer holds as long as nobody commits anything, which a ``ReadCache`` knows, and as long as the credential
is good, which is looked at anew after ``LIFETIME``. The credential is part of the question: nobody gets an answer that
was made for somebody else. With a mirror nothing is remembered here, since its upstream may change without a commit.
"""

import time
from typing import TypeAlias

from hythe.database.read_cache import ReadCache
from hythe.registry.routes.http import Response, Scope
from hythe.registry.service import RegistryServices

LIFETIME = 1.0
"""Seconds; a token that has worn out opens what it opened just before for so long at most."""

CAPACITY = 16 * 1024 * 1024
"""Bytes of answers that are kept."""

OVERHEAD = 3000
"""What an answer takes beside its body, roughly: its request, too, which is told to the listener again."""

_Question: TypeAlias = tuple[str, str, bytes]


class ManifestCache:
    """The manifests that were sent in the last second."""

    def __init__(self, registry: RegistryServices) -> None:
        self._useful = registry.mirror is None
        self._answers: ReadCache[_Question, tuple[float, Response]] = ReadCache(registry.database, CAPACITY)

    def question(self, scope: Scope) -> _Question | None:
        """Return what is asked, when the answer may be remembered: a manifest, by a token or by nobody."""
        if not self._useful or scope["method"] not in ("GET", "HEAD") or "/manifests/" not in scope["path"]:
            return None
        credential = b""
        for name, value in scope["headers"]:
            if name == b"if-none-match" or (name == b"authorization" and credential):
                return None
            if name == b"authorization":
                credential = value
        if scope["query_string"] or (credential and credential[:7].lower() != b"bearer "):
            return None
        return scope["method"], scope["path"], credential

    def generation(self) -> int | None:
        """Return what ``keep`` wants to know, from before the answer is made. Raises UnavailableError."""
        return self._answers.generation()

    def get(self, question: _Question) -> Response | None:
        """Return the answer, when there is one of this generation that is young enough."""
        made = self._answers.get(question)
        return made[1] if made is not None and time.monotonic() - made[0] < LIFETIME else None

    def keep(self, generation: int | None, question: _Question, answer: Response) -> None:
        """Remember an answer that was made after ``generation`` was asked for."""
        if answer.status == 200 and isinstance(answer.body, bytes):
            made = time.monotonic(), answer.completed()
            self._answers.keep(generation, question, made, len(answer.body) + OVERHEAD)
