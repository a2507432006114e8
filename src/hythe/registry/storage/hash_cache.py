"""The hashes of upload sessions, carried in memory from one request to the next.

hashlib cannot save its state: a session that goes on in another process is read again at its end.
"""

from collections import OrderedDict

from hythe.oci.digest import Hasher, new_hasher
from hythe.registry.storage.port import UploadSession

KEPT = 4096
"""Sessions whose hash is kept."""


class HashCache:
    """The hashes of sessions between two requests; the oldest make room."""

    def __init__(self) -> None:
        self._hashers: OrderedDict[UploadSession, Hasher] = OrderedDict()

    def take(self, upload: UploadSession) -> Hasher | None:
        """Return the hash of the session's bytes, which now belongs to the caller; None when it is not known."""
        if upload.offset == 0:
            return new_hasher()
        return self._hashers.pop(upload, None)

    def keep(self, upload: UploadSession, hasher: Hasher) -> None:
        """Keep the hash of the session's bytes; of no bytes there is nothing to keep."""
        if upload.offset == 0:
            return
        self._hashers[upload] = hasher
        if len(self._hashers) > KEPT:
            self._hashers.popitem(last=False)
