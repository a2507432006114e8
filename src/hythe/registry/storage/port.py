"""The port: what the registry requires of a blob store.

    StorageError                    root
    ├── StorageUnavailable          full, not responding, not writable: nothing was lost, retry later
    ├── UploadLost                  the bytes of an upload session are lost: the client must start again
    ├── UploadBusy                  another request is writing to the session: retry later
    ├── DigestMismatch              the uploaded bytes have another digest
    └── BlobMissing                 the blob does not exist, or its bytes cannot be read

An upload session survives a restart, and another server may continue it: everything that this requires is in
``UploadSession``, which the registry stores in its database after each call.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeAlias

import msgspec

from hythe.oci.digest import Digest


class StorageError(Exception):
    """Root of the errors of a blob store."""


class StorageUnavailable(StorageError):
    """The store is full, does not respond or is not writable; nothing acknowledged is lost.

    ``cause`` is a description for clients, without paths.
    """

    def __init__(self, message: str, cause: str = "it is unavailable") -> None:
        super().__init__(message)
        self.cause = cause


class UploadLost(StorageError):
    """The bytes of an upload session are lost."""


class UploadBusy(StorageError):
    """Another request is writing to this upload session."""


class DigestMismatch(StorageError):
    """The uploaded bytes do not match the client's digest."""


class BlobMissing(StorageError):
    """The blob does not exist, or its bytes cannot be read."""


class UploadSession(msgspec.Struct, frozen=True):
    """An upload session with ``offset`` stored bytes; ``state`` belongs to the back end (JSON text)."""

    id: str
    offset: int = 0
    state: str = ""


class StoredBlob(msgspec.Struct, frozen=True):
    """A stored blob: its size in bytes, and when it was stored."""

    digest: Digest
    size: int
    stored_at: datetime


class LocalFile(msgspec.Struct, frozen=True):
    """A blob in a file, which the kernel can send.

    ``check`` verifies it and returns whether it is intact; None if it was verified recently.
    """

    path: Path
    size: int
    check: Callable[[], Awaitable[bool]] | None = None


class Redirect(msgspec.Struct, frozen=True):
    """A blob that the client can fetch from a URL, which is valid for some minutes."""

    url: str


LiveUploads: TypeAlias = Callable[[Sequence[str]], Awaitable[frozenset[str]]]
"""Returns which of these upload sessions exist."""


class BlobStore(Protocol):
    """A store of blobs. Every method may raise StorageUnavailable.

    For a request with a whole blob (POST with ``digest``, or PUT to a session with offset 0) call ``put``, and
    ``cancel`` its session: that takes one sync and one rename.

    The caller ensures that no blob is deleted while it is committed or put, and no session is cancelled while it is
    committed: several servers may use one store, and it has no locks that they share.
    """

    async def start(self, upload_id: str) -> UploadSession:
        """Start an upload session; the id has letters, digits, ``-`` and ``_``. Costs nothing until bytes arrive."""

    async def append(self, upload: UploadSession, body: AsyncIterator[bytes]) -> UploadSession:
        """Append the bytes of ``body``; they are durable up to the new offset on return.

        If ``body`` raises (the client disconnected), the bytes before are kept or discarded, as ``recover`` reports,
        and the error is passed on. After StorageUnavailable the session is unchanged. Raises UploadLost and UploadBusy.
        """

    def holds(self, upload: UploadSession, digest: Digest) -> bool:
        """Return whether this process has received all bytes of the session, and they are those of ``digest``.

        Then the session can be committed without ``recover``: whatever the database has forgotten is not needed.
        """

    async def recover(self, upload: UploadSession) -> UploadSession:
        """Return the session's actual state after an interruption or crash. Raises UploadLost and UploadBusy."""

    async def commit(self, upload: UploadSession, digest: Digest) -> int:
        """Turn the session into the durable blob ``digest``; return its size.

        Committing an existing blob is no error and does not disturb its readers. After StorageUnavailable ``recover``
        reports whether the session still exists. Raises DigestMismatch (which ends the session), UploadLost and
        UploadBusy.
        """

    async def put(self, digest: Digest, body: AsyncIterator[bytes]) -> int:
        """Store a whole durable blob without a session; return its size.

        Stores nothing if ``body`` raises. Raises DigestMismatch.
        """

    async def cancel(self, upload: UploadSession) -> None:
        """Delete a session and its bytes; a missing one is no error."""

    async def stat(self, digest: Digest) -> StoredBlob | None:
        """Return size and time of a blob; None if it does not exist."""

    def read(self, digest: Digest, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """Yield the bytes from ``start`` up to ``stop`` (None: the end).

        Raises BlobMissing, also if the bytes end before ``stop``, so a truncated blob never passes as a complete one.
        """

    async def locate(self, digest: Digest, size: int) -> LocalFile | Redirect | None:
        """Return a faster way to send a blob of ``size`` bytes than ``read``, if there is one.

        Raises BlobMissing, also if the blob has another size.
        """

    async def delete(self, digests: Sequence[Digest]) -> Mapping[Digest, StorageError]:
        """Delete blobs; return the errors of those that remain. A missing blob is no error."""

    async def quarantine(self, digest: Digest) -> None:
        """Put a damaged blob aside: it is not served, and its bytes can still be examined."""

    def walk(self) -> AsyncIterator[StoredBlob]:
        """Yield all blobs."""

    async def marker(self) -> str | None:
        """Return the text that says to which installation the store belongs; None if it has none."""

    async def set_marker(self, marker: str, *, replace: bool) -> None:
        """Write the marker, which is durable on return. Unless ``replace``, an existing one stays."""

    async def is_empty(self) -> bool:
        """Return whether the store has no blob."""

    async def sweep(self, live_uploads: LiveUploads, before: datetime) -> int:
        """Delete temporary bytes from before ``before`` that belong to no active upload; return their number.

        ``live_uploads`` is only asked about uploads with such bytes.
        """

    async def close(self) -> None:
        """Close connections and stop threads."""
