"""Blobs on their way from an upstream: fetched once however many ask, sent on while they come, kept when whole.

A download goes to a file of its own, which everybody who wants the blob reads as it grows. The last byte is held back
until the digest has been checked: wrong bytes never arrive as whole ones.
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
"""Bytes that are read from an upstream, or sent on, at once."""

ATTEMPTS = 5
"""How often a download that was cut is taken up again where it was."""

PAUSE = 0.5
"""Seconds before the first of these, twice as many before each later one."""

FOLDER = "mirror"

log = logging.getLogger(__name__)

Keep = Callable[[AsyncIterator[bytes]], Awaitable[object]]


class MirrorDownloads:
    """The downloads that are under way, by digest."""

    def __init__(self, data: Path) -> None:
        """Keep what is under way in a folder of ``data``; what an earlier process left there is removed."""
        self._folder = data / FOLDER
        self._running: dict[Digest, MirrorDownload] = {}
        for left in self._folder.glob("*"):
            left.unlink(missing_ok=True)

    async def start(self, digest: Digest, upstream: UpstreamRegistry, repository: str, keep: Keep) -> "MirrorDownload":
        """Begin a download, or join the one that is under way; returns once its size is known.

        ``keep`` gets the whole, checked blob. Raises UpstreamError and OSError.
        """
        download = self._running.get(digest)
        if download is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            download = self._running[digest] = MirrorDownload(digest, self._folder)
            download.task = asyncio.create_task(self._run(download, upstream, repository, keep))
        await download.begun()
        return download

    async def close(self) -> None:
        """Give up what is under way."""
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
            download.end(UpstreamUnavailable("the server stops"))
            raise
        except Exception as error:
            log.warning("a mirrored blob could not be fetched: %s: %s", download.digest, error)
            download.end(error)
        finally:
            del self._running[download.digest]


class MirrorDownload:
    """One blob that grows. ``size`` is known once ``begun`` has returned."""

    def __init__(self, digest: Digest, folder: Path) -> None:
        self.digest = digest
        self.size = -1
        self.task: asyncio.Task[None] | None = None
        self._received = 0
        self._ended = False
        self._error: Exception | None = None
        self._news = asyncio.Event()
        # Its name goes at once: the bytes go with the last who has it open, even after kill -9.
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 (closed by the garbage collector)

    async def begun(self) -> None:
        """Return when the size is known; raises what ended the download before."""
        await self._until(lambda: self.size >= 0)

    async def read(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Yield the bytes from ``start`` to before ``stop`` as they come; raises what ended the download."""
        while start < stop:
            await self._until(partial(self._reaches_beyond, start))
            end = min(stop, self._readable, start + PIECE)
            piece = await asyncio.to_thread(os.pread, self._file.fileno(), end - start, start)
            yield piece
            start += len(piece)

    async def kept_pieces(self) -> AsyncIterator[bytes]:
        """Yield all bytes, after they were checked."""
        for start in range(0, self.size, PIECE):
            yield await asyncio.to_thread(os.pread, self._file.fileno(), PIECE, start)

    async def fetch(self, upstream: UpstreamRegistry, repository: str) -> None:
        """Fetch the blob, going on after cuts, and check its digest. Raises UpstreamError and OSError."""
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
            raise UpstreamError(f"{self.digest} arrived with other bytes")

    def end(self, error: Exception | None) -> None:
        """Tell everybody that the blob is whole and kept, or that it never will be."""
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
            raise UpstreamError(f"{self.digest} changed its size while it was fetched")
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
