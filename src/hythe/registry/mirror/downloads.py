"""Downloads of blobs from an upstream: fetched once for all clients, forwarded while they arrive, then stored.

A download writes to its own file, which all clients of the blob read while it grows. The last byte is held back until
the digest is verified, so clients never receive a complete blob with wrong bytes.
"""

import asyncio
import logging
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

from hythe.oci.digest import Digest
from hythe.registry.mirror.upstream import UpstreamError, UpstreamRegistry, UpstreamUnavailable

PIECE = 1024 * 1024
"""Bytes to read from an upstream, or to send, at a time."""

ATTEMPTS = 5
"""How often an interrupted download is resumed."""

PAUSE = 0.5
"""Seconds before the first retry; doubled for each further one."""

FOLDER = "mirror"

log = logging.getLogger(__name__)

Keep = Callable[[AsyncIterator[bytes]], Awaitable[object]]


class MirrorDownloads:
    """The running downloads, by digest."""

    def __init__(self, data: Path) -> None:
        """Store downloads in a folder of ``data``, after removing those of an earlier process."""
        self._folder = data / FOLDER
        self._running: dict[Digest, MirrorDownload] = {}
        for left in self._folder.glob("*"):
            left.unlink(missing_ok=True)

    async def start(self, digest: Digest, upstream: UpstreamRegistry, repository: str, keep: Keep) -> "MirrorDownload":
        """Start a download or join a running one; return once its size is known.

        ``keep`` gets the complete, verified blob. Raises UpstreamError and OSError.
        """
        download = self._running.get(digest)
        if download is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            download = self._running[digest] = MirrorDownload(digest, self._folder)
            download.task = asyncio.create_task(self._run(download, upstream, repository, keep))
        await download.begun()
        return download

    async def close(self) -> None:
        """Cancel all downloads."""
        tasks = [download.task for download in self._running.values() if download.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, download: "MirrorDownload", upstream: UpstreamRegistry, repository: str, keep: Keep) -> None:
        try:
            await download.fetch(upstream, repository)
            await keep(download.kept_pieces())
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
    """A blob that is being downloaded. ``size`` is known once ``begun`` has returned."""

    def __init__(self, digest: Digest, folder: Path) -> None:
        self.digest = digest
        self.size = -1
        self.task: asyncio.Task[None] | None = None
        self._received = 0
        self._ended = False
        self._error: Exception | None = None
        self._news = asyncio.Event()
        # Unlink the file at once: its space is freed with the last open descriptor, even after kill -9.
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 (closed by the garbage collector)

    async def begun(self) -> None:
        """Wait until the size is known. Raises the error that ended the download before."""
        await self._until(lambda: self.size >= 0)

    async def read(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Yield the bytes from ``start`` up to ``stop`` as they arrive. Raises the error that ended the download."""
        while start < stop:
            await self._until(partial(self._reaches_beyond, start))
            end = min(stop, self._readable, start + PIECE)
            piece = await asyncio.to_thread(os.pread, self._file.fileno(), end - start, start)
            yield piece
            start += len(piece)

    async def kept_pieces(self) -> AsyncIterator[bytes]:
        """Yield all bytes once they are verified."""
        for start in range(0, self.size, PIECE):
            yield await asyncio.to_thread(os.pread, self._file.fileno(), PIECE, start)

    async def fetch(self, upstream: UpstreamRegistry, repository: str) -> None:
        """Download the blob, resuming after interruptions, and verify its digest. Raises UpstreamError and OSError."""
        hasher = self.digest.hasher()
        for attempt in range(ATTEMPTS):
            try:
                async with upstream.blob(repository, self.digest, self._received) as reply:
                    self._set_size(self._received + reply.size)
                    async for piece in reply.pieces(PIECE):
                        await asyncio.to_thread(self._write, piece, hasher.update)
                        self._tell()
                break
            except UpstreamUnavailable:
                if attempt + 1 == ATTEMPTS:
                    raise
                await asyncio.sleep(PAUSE * 2**attempt)
        if self._received != self.size or hasher.hexdigest() != self.digest.hex:
            raise UpstreamError(f"the content of {self.digest} does not match its digest")

    def end(self, error: Exception | None) -> None:
        """Report to all readers that the blob is complete and stored, or that the download failed."""
        self._ended = True
        self._error = error
        self._tell()

    @property
    def _readable(self) -> int:
        return self._received if self._ended and self._error is None else min(self._received, self.size - 1)

    def _reaches_beyond(self, position: int) -> bool:
        return self._readable > position

    def _set_size(self, size: int) -> None:
        if self.size not in (-1, size):
            raise UpstreamError(f"the size of {self.digest} changed during the download")
        self.size = size
        self._tell()

    def _write(self, piece: bytes, update: Callable[[bytes], None]) -> None:
        view = memoryview(piece)
        while view:
            view = view[self._file.write(view) :]
        update(piece)
        self._received += len(piece)

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def _until(self, happened: Callable[[], bool]) -> None:
        while not happened():
            if self._error is not None:
                raise self._error
            await self._news.wait()
