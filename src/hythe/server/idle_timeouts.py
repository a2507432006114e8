"""Clients that are slow and clients that are gone: whoever takes a byte now and then is waited for.

Between us and a client lie megabytes in the kernel. A socket can be written to again only when a third of them went,
which takes a slow client minutes: so what counts is what the kernel still holds for it.
"""

import asyncio
import fcntl
import sys
import termios
from collections.abc import Awaitable, Callable


async def while_moving(wait: Callable[[], Awaitable[None]], limit: float, unsent: Callable[[], int]) -> None:
    """Await ``wait``, given up and called anew every ``limit`` seconds.

    Raises TimeoutError when in that time none of the bytes went that are ``unsent``.
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
    """Return how many bytes that were written to a TCP socket its other side has not taken yet."""
    return int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
