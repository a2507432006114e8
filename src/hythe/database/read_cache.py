"""What was read before, for as long as it still holds: until anybody commits anything.

A registry is read a thousand times for each time it is written to, and most of these reads ask the same.
"""

from typing import Generic, TypeVar

from hythe.database.port import Database

K = TypeVar("K")
V = TypeVar("V")


class ReadCache(Generic[K, V]):
    """Answers by what was asked; never stale, since every commit makes it forget everything.

        generation = recollection.generation()
        answer = recollection.get(key)
        if answer is None:                       # ask the database, then
            recollection.keep(generation, key, answer, size)

    On a database that cannot tell its generation it keeps nothing.
    """

    def __init__(self, database: Database, capacity: int) -> None:
        """Keep answers of ``capacity`` bytes together at most."""
        self._database = database
        self._capacity = capacity
        self._generation: int | None = None
        self._answers: dict[K, V] = {}
        self._size = 0

    def generation(self) -> int | None:
        """Return the present generation, after forgetting what older ones answered. Raises UnavailableError."""
        generation = self._database.generation()
        if generation != self._generation:
            self._forget()
            self._generation = generation
        return generation

    def get(self, key: K) -> V | None:
        """Return the answer of the generation that was last asked for."""
        return self._answers.get(key)

    def keep(self, generation: int | None, key: K, answer: V, size: int) -> None:
        """Remember an answer that was read after ``generation`` was asked for."""
        if generation is None or generation != self._generation:
            return
        if self._size + size > self._capacity:
            self._forget()
        self._answers[key] = answer
        self._size += size

    def _forget(self) -> None:
        self._answers.clear()
        self._size = 0
