"""Idle timeouts that tell slow clients from dead ones: a client that takes a byte now and then is waited for.

The kernel buffers megabytes per client, and a socket becomes writable only once a third of them has been sent, which
takes a slow client minutes. So progress is measured by the bytes left in the kernel's buffer.
"""

import asyncio
import fcntl
import sys
import termios
from collections.abc import Awaitable, Callable


async def while_moving(wait: Callable[[], Awaitable[None]], limit: float, unsent: Callable[[], int]) -> None:
    """Await ``wait``, restarted every ``limit`` seconds as long as ``unsent`` decreases.

    Raises TimeoutError if it did not decrease in that time.
    """
    before = unsent()
    while True:
        try:
            async with asyncio.timeout(limit):
                await wait()
                return
        except TimeoutError:
            left = unsent()
            if left >= before:
                raise
            before = left


def unsent_by_kernel(sock: int) -> int:
    """Return how many bytes written to a TCP socket its peer has not acknowledged yet."""
    return int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
