"""Downloading a blob into a layout: verified while streaming, and resumed after errors, also by a later process."""

import fcntl
import os
import threading
from pathlib import Path
from typing import BinaryIO

from hythe.client.blob_stream import BlobSource
from hythe.client.connection import ConnectionFailed
from hythe.client.errors import ClientError, ContentMismatch, RegistryError, Unreachable
from hythe.client.layout import CHUNK_SIZE, ImageLayout
from hythe.client.progress import Reporter, TransferState
from hythe.client.retry import RETRYABLE_STATUSES, Retries
from hythe.oci.manifest import Descriptor

MAX_CORRUPT_DOWNLOADS = 3
"""Number of downloads with a wrong digest after which the transfer fails."""
_LOCK_POLL_INTERVAL = 0.2


class BlobDownload:
    """The download of one blob, with a lock on its partial file."""

    def __init__(
        self,
        descriptor: Descriptor,
        source: BlobSource,
        layout: ImageLayout,
        reporter: Reporter,
        retries: Retries,
        stopped: threading.Event,
    ) -> None:
        self._descriptor = descriptor
        self._source = source
        self._layout = layout
        self._reporter = reporter
        self._retries = retries
        self._stopped = stopped
        self._digest = descriptor.parsed_digest
        self._hasher = self._digest.hasher()
        self._received = 0
        self._buffer = memoryview(bytearray(min(CHUNK_SIZE, max(descriptor.size, 1) + 1)))

    def run(self) -> None:
        """Download the blob; raises ContentMismatch, Unreachable, RegistryError, RemoteNotFound."""
        partial = self._layout.partial_path(self._digest)
        while True:
            with partial.open("a+b", buffering=0) as file:
                self._lock(file)
                if self._layout.has(self._descriptor):
                    self._reporter.state(self._descriptor, TransferState.EXISTS)
                    if _is_same(file, partial):
                        partial.unlink()
                    return
                if _is_same(file, partial):
                    self._fetch(file)
                    self._commit(file, partial)
                    return

    def _lock(self, file: BinaryIO) -> None:
        """Wait until no other process or thread downloads the same blob."""
        while not self._stopped.is_set():
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._stopped.wait(_LOCK_POLL_INTERVAL)
            else:
                return
        raise Unreachable("transfer canceled")

    def _fetch(self, file: BinaryIO) -> None:
        self._reporter.state(self._descriptor, TransferState.MOVING)
        self._hash_partial(file)
        damaged = 0
        while True:
            self._read_to_end(file)
            if self._received == self._descriptor.size and self._hasher.hexdigest() == self._digest.hex:
                return
            damaged += 1
            self._restart(file)
            if damaged >= MAX_CORRUPT_DOWNLOADS:
                raise ContentMismatch(
                    f"blob {self._descriptor.digest} did not match its digest in {damaged} downloads",
                    "check the registry, and any proxy in between",
                )
            self._reporter.state(self._descriptor, TransferState.RETRYING, "wrong digest")

    def _hash_partial(self, file: BinaryIO) -> None:
        """Hash what an earlier download left; discard it if it is larger than the blob."""
        if os.fstat(file.fileno()).st_size > self._descriptor.size:
            file.truncate(0)
        file.seek(0)
        while count := file.readinto(self._buffer):  # type: ignore[attr-defined]
            self._append(count)

    def _read_to_end(self, file: BinaryIO) -> None:
        """Read to the end, with retries; raises the last error if there is no more progress."""
        while self._received < self._descriptor.size or not self._received:
            before = self._received
            try:
                self._stream(file)
                if self._received >= self._descriptor.size:
                    return
                raise ConnectionFailed(
                    f"blob {self._descriptor.digest} ended after {self._received} of {self._descriptor.size} bytes",
                    "try again; finished layers are not downloaded twice",
                )
            except (ConnectionFailed, RegistryError) as error:
                self._wait_after(error, progressed=self._received > before)

    def _wait_after(self, error: ClientError, *, progressed: bool) -> None:
        final = getattr(error, "permanent", False) or (
            isinstance(error, RegistryError) and error.status not in RETRYABLE_STATUSES
        )
        if final or self._stopped.is_set():
            raise error
        if progressed:
            self._retries.reset()
        self._reporter.state(self._descriptor, TransferState.RETRYING, str(error))
        if not self._retries.wait(getattr(error, "retry_after", "")):
            raise error
        self._reporter.state(self._descriptor, TransferState.MOVING)

    def _stream(self, file: BinaryIO) -> None:
        with self._source.open_blob(self._descriptor, self._received) as stream:
            if stream.offset != self._received:
                self._restart(file)
            while count := stream.readinto(self._buffer):
                _write(file, self._buffer[:count])
                self._append(count)
                if self._received > self._descriptor.size or self._stopped.is_set():
                    return

    def _append(self, count: int) -> None:
        self._hasher.update(self._buffer[:count])
        self._received += count
        self._reporter.advance(self._descriptor, count)

    def _restart(self, file: BinaryIO) -> None:
        file.truncate(0)
        self._reporter.advance(self._descriptor, -self._received)
        self._received = 0
        self._hasher = self._digest.hasher()

    def _commit(self, file: BinaryIO, partial: Path) -> None:
        os.fsync(file.fileno())
        target = self._layout.blob_path(self._digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.replace(target)
        target.chmod(0o644)
        self._reporter.state(self._descriptor, TransferState.DONE)


def _write(file: BinaryIO, piece: memoryview) -> None:
    while len(piece):
        piece = piece[file.write(piece) :]


def _is_same(file: BinaryIO, path: Path) -> bool:
    """Whether ``path`` is still the locked file: another process may have finished and renamed it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
