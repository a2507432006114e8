"""What was committed, for caches: which of the values that they hold may have changed since they were read.

Triggers write a row of the table ``changes`` for each change that a cached value may depend on (migration 0031), so the
changes of other servers, older versions and psql count as well. A row has a topic:

- the id of a repository: its name, visibility, grants of teams, tags and manifests, and blobs that it loses;
- minus the id of an account: the account, its tokens and memberships, and what it is a collaborator of;
- NAMES: names that began or ceased to exist, on which answers about missing names depend;
- EVERYTHING.

A position says up to which commit a database's caches are right. A value may be returned at any position that was
determined after its request arrived: it then reflects every commit that was acknowledged before.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol
from weakref import WeakSet

NAMES = 0

EVERYTHING = -(2**62)
"""Smaller than minus any account's id."""

MAX_TOPICS = 1000
"""Topics that one look takes over; if more changed, caches forget everything."""

_MAX_CHANGED = 10_000
"""Topics of which the last change is known."""


def account_topic(user_id: int) -> int:
    """Return the topic of an account."""
    return -user_id


class Forgetful(Protocol):
    """A cache whose values depend on topics."""

    def forget(self, topic: int) -> None:
        """Drop the values that depend on the topic."""

    def forget_all(self) -> None:
        """Drop all values."""


class Changes(ABC):
    """The changes of one database, and the caches that follow them."""

    def __init__(self) -> None:
        self._caches: WeakSet[Forgetful] = WeakSet()
        self._position = 0
        self._oldest = 0
        self._changed: dict[int, int] = {}

    @abstractmethod
    async def position(self) -> int | None:
        """Return the current position, after dropping what changed from the caches; None: nothing can be cached.

        Everything that was committed before the call is before the position. Raises UnavailableError.
        """

    @abstractmethod
    def when_known(self, call: Callable[[bool], None]) -> None:
        """Call a function when ``position`` would return, now or later: with False if it would raise or return None.

        The function must not raise.
        """

    def follow(self, cache: Forgetful) -> None:
        """Let a cache forget what changes, as long as it exists."""
        self._caches.add(cache)

    def unchanged(self, position: int, topics: Collection[int]) -> bool:
        """Return whether a value that was read after ``position`` and depends on these topics may be cached."""
        changed = self._changed
        return position >= self._oldest and not any(changed.get(topic, 0) > position for topic in topics)

    async def consistent(self, reads: "TrackedReads") -> bool:
        """Return whether everything that was read was true at the same time. Raises UnavailableError.

        What came only from caches was: nothing can change between two look-ups.
        """
        if reads.position is None or not reads.loaded:
            return True
        await self.position()
        return self.unchanged(reads.position, reads.topics)

    def take_over(self, topics: Collection[int]) -> int:
        """Drop from the caches what depends on these topics; return the new position."""
        if not topics:
            return self._position
        if EVERYTHING in topics or len(topics) > MAX_TOPICS or len(self._changed) > _MAX_CHANGED:
            return self.forget_all()
        self._position += 1
        self._changed.update(dict.fromkeys(topics, self._position))
        for cache in self._caches:
            for topic in topics:
                cache.forget(topic)
        return self._position

    def forget_all(self) -> int:
        """Drop everything from the caches, because changes may be unknown; return the new position."""
        self._position += 1
        self._oldest = self._position
        self._changed.clear()
        for cache in self._caches:
            cache.forget_all()
        return self._position


class TrackedReads:
    """What the work of one request read from the database, so that its result can be cached.

    ``topics`` is what it depends on, ``position`` where it began (None: it read nothing). It is ``complete`` if
    everything was read through read caches, and nothing was written. ``loaded``: caches had to read something.
    """

    __slots__ = ("complete", "loaded", "position", "topics")

    def __init__(self) -> None:
        self.position: int | None = None
        self.topics: set[int] = set()
        self.complete = True
        self.loaded = False


_TRACKED: ContextVar[TrackedReads | None] = ContextVar("tracked", default=None)


@contextmanager
def tracked_reads() -> Iterator[TrackedReads]:
    """Track the reads of the block, which all use the position of the first one: use it only for short work."""
    reads = TrackedReads()
    token = _TRACKED.set(reads)
    try:
        yield reads
    finally:
        _TRACKED.reset(token)


def current_reads() -> TrackedReads | None:
    """Return what tracks the reads of this task."""
    return _TRACKED.get()


def note_read() -> None:
    """Note that a session was opened for reading: only a read cache knows which topics that depends on."""
    reads = _TRACKED.get()
    if reads is not None:
        reads.complete = False


def note_written() -> None:
    """Note that this task may have committed something, which its following reads must reflect."""
    reads = _TRACKED.get()
    if reads is not None:
        reads.complete = False
        reads.position = None
