"""The hashes of upload sessions, kept in memory between requests.

hashlib cannot save its state: if another process continues a session, its bytes are read again at the end.
"""

from collections import OrderedDict

from hythe.oci.digest import Hasher, new_hasher
from hythe.registry.storage.port import UploadSession

CAPACITY = 4096
"""Maximum number of sessions."""


class HashCache:
    """The hashes of sessions between two requests; the oldest are evicted."""

    def __init__(self) -> None:
        self._hashers: OrderedDict[UploadSession, Hasher] = OrderedDict()

    def take(self, upload: UploadSession) -> Hasher | None:
        """Return the hash of the session's bytes and remove it from the cache; None if unknown."""
        if upload.offset == 0:
            return new_hasher()
        return self._hashers.pop(upload, None)

    def peek(self, upload: UploadSession) -> Hasher | None:
        """Return the hash of the session's bytes, which stays in the cache; None if unknown."""
        return self._hashers.get(upload)

    def keep(self, upload: UploadSession, hasher: Hasher) -> None:
        """Keep the hash of the session's bytes; there is nothing to keep for zero bytes."""
        if upload.offset == 0:
            return
        self._hashers[upload] = hasher
        if len(self._hashers) > CAPACITY:
            self._hashers.popitem(last=False)
