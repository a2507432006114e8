"""Entries of blobs in an object store, kept for a while: a pull then waits for the store only once, at the client."""

import time
from collections import OrderedDict

from hythe.oci.digest import Digest
from hythe.registry.storage.object_layout import IndexEntry

CAPACITY = 65536
"""Maximum number of entries."""


class EntryCache:
    """The entries of blobs that were pulled within the last seconds.

    Another server may delete a blob, and a third store it again with another entry. Garbage collection deletes no blob
    before half the grace period after its last pull has passed, so a lifetime of that is safe.
    """

    def __init__(self, lifetime: float) -> None:
        """Keep entries for ``lifetime`` seconds; 0: keep none."""
        self._lifetime = lifetime
        self._entries: OrderedDict[Digest, tuple[float, IndexEntry]] = OrderedDict()

    def get(self, digest: Digest) -> IndexEntry | None:
        """Return the entry of a blob if it is recent."""
        found = self._entries.get(digest)
        return found[1] if found is not None and time.monotonic() < found[0] else None

    def keep(self, digest: Digest, entry: IndexEntry) -> None:
        """Keep the entry of a blob, just read."""
        if not self._lifetime:
            return
        self._entries.pop(digest, None)
        self._entries[digest] = time.monotonic() + self._lifetime, entry
        if len(self._entries) > CAPACITY:
            self._entries.popitem(last=False)

    def pop(self, digest: Digest) -> None:
        """Forget the entry of a blob."""
        self._entries.pop(digest, None)
