"""Send files to sockets with the kernel's sendfile, without copying their bytes through Python.

The socket is non-blocking. A pool thread copies as long as the client keeps up; a slow client is waited for on the
event loop, so that a thousand slow clients occupy no thread.
"""

import asyncio
import logging
import os
import select
from concurrent.futures import ThreadPoolExecutor

from hythe.server.idle_timeouts import unsent_by_kernel, while_moving

MAX_INLINE_SIZE = 64 * 1024
"""Bytes; a smaller range is read on the event loop, because a thread would cost more than the copy."""

CHUNK_SIZE = 256 * 1024
"""Bytes per call of sendfile. With larger chunks, sender and reader take turns instead of working in parallel: a pull
of 1 GiB took 0.55 s with 4 MiB, 0.28 s with 256 KiB."""

MAX_TURN_SIZE = 64 * 1024 * 1024
"""Bytes after which a thread switches to the next transfer."""

POLL_TIMEOUT_MS = 5
"""How long a thread waits for a client that is nearly fast enough."""

THREADS = 16

log = logging.getLogger(__name__)


class FileSender:
    """Sends ranges of files on the transports of one event loop."""

    def __init__(self, stall_timeout: float) -> None:
        """Disconnect a client that takes no byte for ``stall_timeout`` seconds."""
        self._stall_timeout = stall_timeout
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="sendfile")

    def apply(self, stall_timeout: float) -> None:
        """Take over a changed timeout."""
        self._stall_timeout = stall_timeout

    async def send(self, transport: asyncio.Transport, path: str | os.PathLike[str], start: int, length: int) -> bool:
        """Send ``length`` bytes of the file from ``start``.

        Returns False if the client disconnected, or if the file is too short or cannot be read (logged).
        """
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            log.error("cannot send a file: %s", error)
            return False
        try:
            if length <= MAX_INLINE_SIZE:
                content = os.pread(file, length, start)
                transport.write(content)
                return len(content) == length
            async with asyncio.timeout(self._stall_timeout):
                await _flushed(transport)
            return await self._copy(transport, file, start, length)
        except (ConnectionError, TimeoutError):
            return False
        except OSError as error:
            log.error("sending %s failed: %s", path, error)
            return False
        finally:
            os.close(file)

    async def close(self) -> None:
        """Wait for the threads to end."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def _copy(self, transport: asyncio.Transport, file: int, start: int, length: int) -> bool:
        loop = asyncio.get_running_loop()
        # A duplicate: the transport can be closed in the meantime, and its descriptor reused for another client.
        sock = os.dup(transport.get_extra_info("socket").fileno())
        stop = start + length
        try:
            while start < stop:
                turn = loop.run_in_executor(self._threads, _copy_while_writable, sock, file, start, stop)
                reached = await _uncancelled(turn)
                if reached is None:
                    return False
                if reached < stop and reached - start < MAX_TURN_SIZE:
                    await while_moving(
                        lambda: _writable(loop, sock), self._stall_timeout, lambda: unsent_by_kernel(sock)
                    )
                start = reached
            return True
        finally:
            os.close(sock)


def _copy_while_writable(sock: int, file: int, start: int, stop: int) -> int | None:
    """Copy until the client is too slow or the turn is over; return the new offset, None if the file ends early."""
    poller = select.poll()
    poller.register(sock, select.POLLOUT)
    end_of_turn = min(stop, start + MAX_TURN_SIZE)
    while start < end_of_turn:
        try:
            sent = os.sendfile(sock, file, start, min(CHUNK_SIZE, end_of_turn - start))
        except BlockingIOError:
            if not poller.poll(POLL_TIMEOUT_MS):
                return start
            continue
        if sent == 0:
            return None
        start += sent
    return start


async def _flushed(transport: asyncio.Transport) -> None:
    """Wait until the transport's buffer is empty, so that the file is sent after it."""
    pause = 0.0  # short headers are sent within one iteration of the loop, unless earlier responses wait
    while transport.get_write_buffer_size() and not transport.is_closing():
        await asyncio.sleep(pause)
        pause = 0.002
    if transport.is_closing():
        raise ConnectionResetError


async def _writable(loop: asyncio.AbstractEventLoop, sock: int) -> None:
    ready = asyncio.Event()
    loop.add_writer(sock, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(sock)


async def _uncancelled(turn: "asyncio.Future[int | None]") -> int | None:
    """Wait until a thread has stopped using its descriptors, even if the task is cancelled."""
    try:
        return await asyncio.shield(turn)
    except asyncio.CancelledError:
        await asyncio.wait([turn])
        raise
