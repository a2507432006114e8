"""The port: what the registry asks of a place that keeps blobs.

    StorageError                    root
    ├── StorageUnavailable          no room, no answer, no write access: nothing was lost, try again later
    ├── UploadLost                  the bytes of an upload session are gone: the client starts anew
    ├── UploadBusy                  another request is writing to the session: ask again later
    ├── DigestMismatch              the uploaded bytes have another digest
    └── BlobMissing                 no such blob, or its bytes cannot be read

An upload session survives a restart and may be continued by another server: everything that is needed for that is in
``UploadSession``, which the registry keeps in its database after each call.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Protocol

import msgspec

from hythe.oci.digest import Digest


class StorageError(Exception):
    """Root of what a blob store raises of its own."""


class StorageUnavailable(StorageError):
    """No room, no answer or no write access; nothing that was acknowledged is lost.

    ``cause`` is what clients may know of it: it names no place.
    """

    def __init__(self, message: str, cause: str = "it cannot be used") -> None:
        super().__init__(message)
        self.cause = cause


class UploadLost(StorageError):
    """The bytes of an upload session are gone."""


class UploadBusy(StorageError):
    """Another request is writing to this upload session at this moment."""


class DigestMismatch(StorageError):
    """The uploaded bytes have another digest than the client said."""


class BlobMissing(StorageError):
    """There is no such blob, or its bytes cannot be read."""


class UploadSession(msgspec.Struct, frozen=True):
    """An upload session: ``offset`` bytes are safely there; ``state`` is the back end's own, JSON text."""

    id: str
    offset: int = 0
    state: str = ""


class StoredBlob(msgspec.Struct, frozen=True):
    """A blob that is there: its size in bytes, and when it came."""

    digest: Digest
    size: int
    stored_at: datetime


class LocalFile(msgspec.Struct, frozen=True):
    """A blob that can be sent from a file by the kernel.

    ``check`` reads it and says whether it is whole; None when that was found out a short while ago.
    """

    path: Path
    size: int
    check: Callable[[], Awaitable[bool]] | None = None


class Redirect(msgspec.Struct, frozen=True):
    """A blob that the client fetches by itself from a URL that is good for some minutes."""

    url: str


class BlobStore(Protocol):
    """A place that keeps blobs. Every method may raise StorageUnavailable.

    A request that carries a whole blob (POST with ``digest``, or a PUT to a session whose offset is still 0) is best
    given to ``put``, and its session to ``cancel``: that is one sync, one rename, and no session in between.

    The caller sees to it that nobody deletes a blob while it is committed or put, or cancels a session while it is
    committed: several servers may work on one store, and it has no locks that all of them would see.
    """

    async def start(self, upload_id: str) -> UploadSession:
        """Begin an upload session; the id is letters, digits, ``-`` and ``_``. Costs nothing until bytes come."""

    async def append(self, upload: UploadSession, body: AsyncIterator[bytes]) -> UploadSession:
        """Add the bytes of ``body``; on return they survive a power cut up to the new offset.

        When ``body`` raises (the client went away), what came before stays or is dropped, as
        ``recover`` will tell, and the error is passed on. After StorageUnavailable the session stands
        where it stood before. Raises UploadLost and UploadBusy.
        """

    async def recover(self, upload: UploadSession) -> UploadSession:
        """Return the session as it really stands after a cut or a crash. Raises UploadLost and UploadBusy."""

    async def commit(self, upload: UploadSession, digest: Digest) -> int:
        """Turn the session into the blob ``digest``; return its size. It survives a power cut on return.

        Committing a blob that is there already is no error, and its readers notice nothing. After
        StorageUnavailable ``recover`` tells whether the session still stands. Raises DigestMismatch (the
        session is over then), UploadLost and UploadBusy.
        """

    async def put(self, digest: Digest, body: AsyncIterator[bytes]) -> int:
        """Store a whole blob in one go, without a session; return its size. It survives a power cut on return.

        Nothing stays behind when ``body`` raises. Raises DigestMismatch.
        """

    async def cancel(self, upload: UploadSession) -> None:
        """Forget a session and its bytes; one that is gone already is no error."""

    async def stat(self, digest: Digest) -> StoredBlob | None:
        """Return what is known of a blob, None when it is not there."""

    def read(self, digest: Digest, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """Yield the bytes from ``start`` to before ``stop`` (None: the end).

        Raises BlobMissing, also when the bytes end before ``stop``: a truncated blob is never taken for a whole one.
        """

    async def locate(self, digest: Digest, size: int) -> LocalFile | Redirect | None:
        """Return a better way to send a blob of ``size`` bytes than ``read``, if there is one.

        Raises BlobMissing, also when what is there has another size.
        """

    async def delete(self, digest: Digest) -> None:
        """Remove a blob; one that is gone already is no error."""

    async def quarantine(self, digest: Digest) -> None:
        """Put a rotten blob aside, so that it is not served and its bytes can still be looked at."""

    def walk(self) -> AsyncIterator[StoredBlob]:
        """Yield every blob that is there."""

    async def sweep(self, live_uploads: frozenset[str], before: datetime) -> int:
        """Remove temporary bytes from before ``before`` that belong to no live upload; return how many pieces."""

    async def close(self) -> None:
        """Let go of connections and threads."""
