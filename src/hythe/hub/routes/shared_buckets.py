"""How many requests clients have left, in memory that the processes of one server share.

A client's requests reach any of them, so that each alone would allow as many as all together should. Two processes can
count the same client in the same microsecond, and then one request is not counted; there are no locks.
"""

import hashlib
import math
import mmap
import struct

SLOTS = 1 << 15
"""Clients that are counted; others take the place of those that were idle for longest."""

_SLOT = struct.Struct("<Qdd")
"""The client's fingerprint, its requests left, and when they were counted (monotonic, the same in all processes)."""

_NEIGHBOURS = 4
"""Slots in which a client can be."""

SIZE = SLOTS * _SLOT.size
"""Bytes of memory that the buckets need."""


class SharedBuckets:
    """Buckets by client, like a small dictionary that forgets."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory

    def take(self, client: str) -> tuple[float, float] | None:
        """Return the requests left and when they were counted; None if the client is new."""
        fingerprint, first = _place(client)
        for slot in _slots(first):
            found, left, since = _SLOT.unpack_from(self._memory, slot)
            if found == fingerprint and math.isfinite(left) and math.isfinite(since):
                return left, since
        return None

    def put(self, client: str, left: float, since: float) -> None:
        """Store the requests left, instead of those of another client if there is no room."""
        fingerprint, first = _place(client)
        entries = [(slot, *_SLOT.unpack_from(self._memory, slot)) for slot in _slots(first)]
        own = [slot for slot, found, _, _ in entries if found == fingerprint]
        target = own[0] if own else min(entries, key=lambda entry: entry[3])[0]
        _SLOT.pack_into(self._memory, target, fingerprint, left, since)


def _place(client: str) -> tuple[int, int]:
    digest = hashlib.blake2b(client.encode(), digest_size=16).digest()
    return int.from_bytes(digest[:8], "little") | 1, int.from_bytes(digest[8:], "little") % SLOTS


def _slots(first: int) -> tuple[int, ...]:
    return tuple((first + step) % SLOTS * _SLOT.size for step in range(_NEIGHBOURS))
