"""A cache of query results that is never stale: a commit drops what it may have changed.

A registry is read a thousand times for each write, and most of these reads are the same.
"""

from collections.abc import Awaitable, Callable
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from hythe.database.changes import TrackedReads, current_reads
from hythe.database.joined_reads import joined_session
from hythe.database.port import Database, Session
from hythe.telemetry.metrics import CACHE_READS

K = TypeVar("K")
V = TypeVar("V")

Load: TypeAlias = Callable[[Session], Awaitable[V]]


class Kept(NamedTuple):
    """How to cache a value: the different topics of ``changes`` that it depends on, and its size in bytes."""

    topics: tuple[int, ...]
    size: int


class _Entry(NamedTuple, Generic[V]):
    value: V
    kept: Kept


class ReadCache(Generic[K, V]):
    """Caches query results by key until something that they depend on changes, or newer ones need their room.

    In a transaction that ``reads_in`` joins nothing is cached, because it may see what it has not committed yet.
    """

    def __init__(self, database: Database, capacity: int, kept: Callable[[K, V], Kept | None], name: str) -> None:
        """Cache values of up to ``capacity`` bytes in total; ``kept`` says how, None: not this one.

        ``name``: that of the cache in metrics.
        """
        self._hits, self._misses = CACHE_READS.cell(name, "hit"), CACHE_READS.cell(name, "miss")
        self._database = database
        self._changes = database.changes
        self._capacity = capacity
        self._kept = kept
        self._entries = Entries[K, V](capacity)
        self._changes.follow(self._entries)

    async def get(self, key: K, load: Load[V]) -> V:
        """Return the value of a key as it is now; ``load`` reads it if it is not cached. Raises UnavailableError."""
        if joined_session() is not None:
            return await self._read(load)
        reads = current_reads() or TrackedReads()
        if reads.position is None:
            reads.position = await self._changes.position()
        if reads.position is None:
            return await self._read(load)
        entry = self._entries.get(key)
        if entry is None:
            self._misses.value += 1
            return await self._load(key, load, reads, reads.position)
        self._hits.value += 1
        reads.topics.update(entry.kept.topics)
        return entry.value

    async def _load(self, key: K, load: Load[V], reads: TrackedReads, position: int) -> V:
        complete, reads.loaded = reads.complete, True
        value = await self._read(load)
        kept = self._kept(key, value)
        if kept is not None:
            # Reading it has made the reads incomplete.
            reads.complete = complete
            reads.topics.update(kept.topics)
            if self._changes.unchanged(position, kept.topics):
                self._entries.put(key, value, kept)
        return value

    async def _read(self, load: Load[V]) -> V:
        async with self._database.reading() as session:
            return await load(session)


class Entries(Generic[K, V]):
    """Values by key with the topics that they depend on, up to a total size; the oldest ones make room for new ones."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._entries: dict[K, _Entry[V]] = {}
        self._keys: dict[int, set[K]] = {}
        self.size = 0
        """The bytes of all values, as given to ``put``."""

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> _Entry[V] | None:
        """Return the entry of a key."""
        return self._entries.get(key)

    def put(self, key: K, value: V, kept: Kept) -> None:
        """Store a value, unless it is larger than everything may be together."""
        self._remove(key)
        if kept.size > self._capacity:
            return
        while self.size + kept.size > self._capacity:
            self._remove(next(iter(self._entries)))
        self._entries[key] = _Entry(value, kept)
        self.size += kept.size
        for topic in kept.topics:
            self._keys.setdefault(topic, set()).add(key)

    def _remove(self, key: K) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        self.size -= entry.kept.size
        for topic in entry.kept.topics:
            keys = self._keys[topic]
            keys.discard(key)
            if not keys:
                del self._keys[topic]

    def forget(self, topic: int) -> None:
        """See Forgetful."""
        for key in tuple(self._keys.get(topic, ())):
            self._remove(key)

    def forget_all(self) -> None:
        """See Forgetful."""
        self._entries.clear()
        self._keys.clear()
        self.size = 0
