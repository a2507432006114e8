"""Downloads of blobs from an upstream: fetched once for all clients, forwarded while they arrive, then stored.

A download writes to its own file, which all clients of the blob read while it grows. The last byte is held back until
the digest is verified, so clients never receive a complete blob with wrong bytes. A small blob is verified before its
first byte is sent, so that clients get an error with a reason instead of a response that ends early.
"""

import asyncio
import logging
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

from hythe.oci.digest import Digest
from hythe.registry.mirror.errors import UpstreamInvalid, UpstreamUnavailable, quote
from hythe.registry.mirror.responses import MAX_ERROR_SIZE
from hythe.registry.mirror.upstream import BlobReply, UpstreamRegistry
from hythe.registry.storage.disk import disk_errors

PIECE_SIZE = 1024 * 1024
"""Bytes to read from an upstream, or to send, at a time."""

MAX_ATTEMPTS = 5
"""How often an interrupted download is resumed."""

VERIFIED_SIZE = 1024 * 1024
"""Blobs up to this size in bytes are verified before they are forwarded."""

RETRY_DELAY = 0.5
"""Seconds before the first retry; doubled for each further one."""

FOLDER = "mirror"

log = logging.getLogger(__name__)

StoreBlob = Callable[[AsyncIterator[bytes]], Awaitable[object]]


class MirrorDownloads:
    """The running downloads, by digest."""

    def __init__(self, data: Path) -> None:
        """Store downloads in a folder of ``data``, after removing those of an earlier process."""
        self._folder = data / FOLDER
        self._running: dict[Digest, MirrorDownload] = {}
        for leftover in self._folder.glob("*"):
            leftover.unlink(missing_ok=True)

    async def start(
        self, digest: Digest, upstream: UpstreamRegistry, repository: str, store_blob: StoreBlob
    ) -> "MirrorDownload":
        """Start a download or join a running one; return once its size is known.

        ``store_blob`` gets the complete, verified blob. Raises UpstreamError and StorageUnavailable.
        """
        download = self._running.get(digest)
        if download is None:
            with disk_errors(self._folder):
                self._folder.mkdir(parents=True, exist_ok=True)
                download = self._running[digest] = MirrorDownload(digest, self._folder)
            download.task = asyncio.create_task(self._run(download, upstream, repository, store_blob))
        await download.wait_for_size()
        return download

    async def close(self) -> None:
        """Cancel all downloads."""
        tasks = [download.task for download in self._running.values() if download.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(
        self, download: "MirrorDownload", upstream: UpstreamRegistry, repository: str, store_blob: StoreBlob
    ) -> None:
        try:
            await download.fetch(upstream, repository)
            await store_blob(download.all_pieces())
            download.end(None)
        except asyncio.CancelledError:
            download.end(UpstreamUnavailable("the server is stopping"))
            raise
        except Exception as error:
            log.warning("failed to download a mirrored blob: %s: %s", download.digest, error)
            download.end(error)
        finally:
            del self._running[download.digest]


class MirrorDownload:
    """A blob that is being downloaded. ``size`` is known once ``wait_for_size`` has returned."""

    def __init__(self, digest: Digest, folder: Path) -> None:
        self.digest = digest
        self.size = -1
        self.task: asyncio.Task[None] | None = None
        self._received = 0
        self._announced = -1
        self._folder = folder
        self._ended = False
        self._error: Exception | None = None
        self._changed = asyncio.Event()
        # Unlink the file at once: its space is freed with the last open descriptor, even after kill -9.
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 (closed by the garbage collector)

    async def wait_for_size(self) -> None:
        """Wait until the size is known. Raises the error that ended the download before."""
        await self._wait_until(lambda: self.size >= 0)

    async def read(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Yield the bytes from ``start`` up to ``stop`` as they arrive. Raises the error that ended the download."""
        while start < stop:
            await self._wait_until(partial(self._reaches_beyond, start))
            end = min(stop, self._readable, start + PIECE_SIZE)
            piece = await asyncio.to_thread(os.pread, self._file.fileno(), end - start, start)
            yield piece
            start += len(piece)

    async def all_pieces(self) -> AsyncIterator[bytes]:
        """Yield all bytes once they are verified."""
        for start in range(0, self.size, PIECE_SIZE):
            yield await asyncio.to_thread(os.pread, self._file.fileno(), PIECE_SIZE, start)

    async def fetch(self, upstream: UpstreamRegistry, repository: str) -> None:
        """Download the blob, resuming after interruptions, and verify its digest.

        Raises UpstreamError and StorageUnavailable.
        """
        hasher = self.digest.hasher()
        for attempt in range(MAX_ATTEMPTS):
            try:
                async with upstream.blob(repository, self.digest, self._received) as reply:
                    self._announce(reply)
                    async for piece in reply.pieces(PIECE_SIZE):
                        await asyncio.to_thread(self._write, piece, hasher.update)
                        self._wake_readers()
                break
            except UpstreamUnavailable:
                if attempt + 1 == MAX_ATTEMPTS:
                    raise
                await asyncio.sleep(RETRY_DELAY * 2**attempt)
        if self._announced not in (-1, self._received) or hasher.hexdigest() != self.digest.hex:
            raise UpstreamInvalid(f"{upstream.address} sent content that does not match {self.digest}{self._start()}")
        self.size = self._received

    def end(self, error: Exception | None) -> None:
        """Report to all readers that the blob is complete and stored, or that the download failed."""
        self._ended = True
        self._error = error
        self._wake_readers()

    @property
    def _readable(self) -> int:
        return self._received if self._ended and self._error is None else min(self._received, self.size - 1)

    def _reaches_beyond(self, position: int) -> bool:
        return self._readable > position

    def _announce(self, reply: BlobReply) -> None:
        """Note the size that the upstream announces; start forwarding, unless the digest has to be verified first."""
        size = -1 if reply.size is None else self._received + reply.size
        if self._announced not in (-1, size):
            raise UpstreamInvalid(f"the size of {self.digest} changed during the download")
        self._announced = size
        if size > VERIFIED_SIZE and not reply.is_web_page:
            self.size = size
            self._wake_readers()

    def _start(self) -> str:
        """Return what the wrong content says, if it is a text."""
        content = os.pread(self._file.fileno(), MAX_ERROR_SIZE, 0)
        return "" if b"\0" in content else quote(content)

    def _write(self, piece: bytes, update: Callable[[bytes], None]) -> None:
        view = memoryview(piece)
        with disk_errors(self._folder):
            while view:
                view = view[self._file.write(view) :]
        update(piece)
        self._received += len(piece)

    def _wake_readers(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _wait_until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            if self._error is not None:
                raise self._error
            await self._changed.wait()
