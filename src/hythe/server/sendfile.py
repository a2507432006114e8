"""Send files from the page cache to the socket without their bytes passing through Python.

The socket does not block. A pool thread copies as long as the client keeps up; a client that does not is waited
for on the event loop, so that a thousand slow ones hold no thread.
"""

import asyncio
import logging
import os
import select
from concurrent.futures import ThreadPoolExecutor

from hythe.server.idle_timeouts import unsent_by_kernel, while_moving

SMALL = 64 * 1024
"""Bytes up to which a file is read on the loop: a thread would cost more than the copy."""

STEP = 256 * 1024
"""Most bytes of one call of sendfile. With more, sender and reader take turns instead of working side by side: a pull
of 1 GiB took 0.55 s by 4 MiB, 0.28 s by 256 KiB."""

TURN = 64 * 1024 * 1024
"""Bytes after which a thread is given to the next transfer."""

PATIENCE_MS = 5
"""How long a thread waits for a client that is nearly fast enough."""

THREADS = 16

log = logging.getLogger(__name__)


class FileSender:
    """Sends parts of files on the transports of one event loop."""

    def __init__(self, stall_timeout: float) -> None:
        """Give up on a client that takes no byte for ``stall_timeout`` seconds."""
        self._stall_timeout = stall_timeout
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="sendfile")

    async def send(self, transport: asyncio.Transport, path: str | os.PathLike[str], start: int, length: int) -> bool:
        """Send ``length`` bytes of the file from ``start``.

        False when the client went away, or the file is shorter or cannot be read, of which the log tells.
        """
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            log.error("cannot be sent: %s", error)
            return False
        try:
            if length <= SMALL:
                content = os.pread(file, length, start)
                transport.write(content)
                return len(content) == length
            async with asyncio.timeout(self._stall_timeout):
                await _flushed(transport)
            return await self._copy(transport, file, start, length)
        except (ConnectionError, TimeoutError):
            return False
        except OSError as error:
            log.error("%s was cut while it was sent: %s", path, error)
            return False
        finally:
            os.close(file)

    async def close(self) -> None:
        """Wait for the threads."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def _copy(self, transport: asyncio.Transport, file: int, start: int, length: int) -> bool:
        loop = asyncio.get_running_loop()
        # A descriptor of our own: the transport may be closed meanwhile, and its number given to another client.
        sock = os.dup(transport.get_extra_info("socket").fileno())
        stop = start + length
        try:
            while start < stop:
                turn = loop.run_in_executor(self._threads, _copy_while_writable, sock, file, start, stop)
                reached = await _even_if_cancelled(turn)
                if reached is None:
                    return False
                if reached < stop and reached - start < TURN:
                    await while_moving(
                        lambda: _writable(loop, sock), self._stall_timeout, lambda: unsent_by_kernel(sock)
                    )
                start = reached
            return True
        finally:
            os.close(sock)


def _copy_while_writable(sock: int, file: int, start: int, stop: int) -> int | None:
    """Copy until the client falls behind or the turn is over; return where it got to, None when the file ends early."""
    poller = select.poll()
    poller.register(sock, select.POLLOUT)
    end_of_turn = min(stop, start + TURN)
    while start < end_of_turn:
        try:
            sent = os.sendfile(sock, file, start, min(STEP, end_of_turn - start))
        except BlockingIOError:
            if not poller.poll(PATIENCE_MS):
                return start
            continue
        if sent == 0:
            return None
        start += sent
    return start


async def _flushed(transport: asyncio.Transport) -> None:
    """Wait until what was written through the transport has left it, for the file must come after."""
    pause = 0.0  # a head of some hundred bytes is gone after one round of the loop, unless earlier answers wait
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


async def _even_if_cancelled(turn: "asyncio.Future[int | None]") -> int | None:
    """Wait for a thread to let go of its descriptors, also when the task is cancelled meanwhile."""
    try:
        return await asyncio.shield(turn)
    except asyncio.CancelledError:
        await asyncio.wait([turn])
        raise
