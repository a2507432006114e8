"""A read cache that any commit invalidates.

A registry is read a thousand times for each write, and most of these reads are the same.
"""

from typing import Generic, TypeVar

from hythe.database.port import Database

K = TypeVar("K")
V = TypeVar("V")


class ReadCache(Generic[K, V]):
    """Caches query results by key; never stale, because every commit empties it.

        generation = cache.generation()
        value = cache.get(key)
        if value is None:                        # query the database, then
            cache.keep(generation, key, value, size)

    Caches nothing if the database has no generation.
    """

    def __init__(self, database: Database, capacity: int) -> None:
        """Cache values of up to ``capacity`` bytes in total."""
        self._database = database
        self._capacity = capacity
        self._generation: int | None = None
        self._answers: dict[K, V] = {}
        self._size = 0

    def generation(self) -> int | None:
        """Return the current generation, after dropping values of older ones. Raises UnavailableError."""
        generation = self._database.generation()
        if generation != self._generation:
            self._forget()
            self._generation = generation
        return generation

    def get(self, key: K) -> V | None:
        """Return the value cached in the last returned generation."""
        return self._answers.get(key)

    def keep(self, generation: int | None, key: K, answer: V, size: int) -> None:
        """Cache a value that was read after ``generation`` was returned."""
        if generation is None or generation != self._generation:
            return
        if self._size + size > self._capacity:
            self._forget()
        self._answers[key] = answer
        self._size += size

    def _forget(self) -> None:
        self._answers.clear()
        self._size = 0
