"""The least average rate at which a server must send and receive. Off unless a program asks for it.

Only time in which this side waits for the server counts, not what happens between two reads. A response may take as
long as the connection's timeout to begin, because a server may have to work for it.
"""

import io
import os
import select
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, BinaryIO, cast

import msgspec

_SENDFILE_SIZE = 1 << 20
_MIN_TIMEOUT = 0.01


class TransferRate(msgspec.Struct, frozen=True):
    """A least average rate in bytes per second, over each ``window`` seconds of waiting."""

    bytes_per_second: int
    window: float = 30.0

    def __str__(self) -> str:
        return f"{self.bytes_per_second / 1000:g} kB/s"


class TooSlow(OSError):
    """The server is slower than the least rate; ``verb`` is what it does too slowly: sends or receives."""

    def __init__(self, verb: str, rate: TransferRate) -> None:
        super().__init__(f"it {verb} less than {rate}")
        self.verb = verb
        self.rate = rate


class MeteredSocket:
    """A plain or TLS socket whose transfers obey a rate. Has the methods that ``http1.Socket`` requires."""

    def __init__(self, socket: Any, rate: TransferRate) -> None:
        self._socket = socket
        self._rate = rate
        self._timeout: float | None = None
        self._waited = 0.0
        self._moved = 0
        self._has_begun = False

    def sendall(self, data: bytes | bytearray | memoryview, /) -> None:
        """Send all of ``data``. Raises TooSlow."""
        self._begin()
        view = memoryview(data)
        while len(view):
            view = view[self._measure("receives", partial(self._socket.send, view)) :]

    def sendfile(self, file: BinaryIO, /, offset: int = 0, count: int | None = None) -> int:
        """Send ``count`` bytes of ``file``, starting at ``offset``; return the number of bytes sent. Raises TooSlow."""
        if count is None:
            count = os.fstat(file.fileno()).st_size - offset
        self._begin()
        sent = 0
        while sent < count:
            moved = self._measure("receives", partial(self._send_piece, file, offset + sent, count - sent))
            if moved == 0:
                break
            sent += moved
        return sent

    def _send_piece(self, file: BinaryIO, offset: int, count: int) -> int:
        poller = select.poll()
        poller.register(self._socket, select.POLLOUT)
        while poller.poll(self._socket.gettimeout() * 1000):
            with suppress(BlockingIOError):
                return os.sendfile(self._socket.fileno(), file.fileno(), offset, min(count, _SENDFILE_SIZE))
        raise TimeoutError

    def recv_into(self, buffer: memoryview) -> int:
        """Receive into ``buffer``; return the number of bytes, 0 at the end. Raises TooSlow."""
        if self._has_begun:
            return self._measure("sends", partial(self._socket.recv_into, buffer))
        self._socket.settimeout(self._timeout)
        count: int = self._socket.recv_into(buffer)
        self._begin()
        self._has_begun = True
        return count

    def _begin(self) -> None:
        """Start a window: a request, or a response."""
        self._waited, self._moved, self._has_begun = 0.0, 0, False

    def _measure(self, verb: str, transfer: Callable[[], int]) -> int:
        """Return the number of bytes that ``transfer`` moves. Raises TooSlow at the end of a window with too few."""
        count = None
        while count is None:
            began = time.monotonic()
            self._socket.settimeout(max(_MIN_TIMEOUT, self._rate.window - self._waited))
            with suppress(TimeoutError):
                count = transfer()
            self._waited += time.monotonic() - began
            self._moved += count or 0
            if self._waited >= self._rate.window and count != 0:
                if self._moved < self._rate.window * self._rate.bytes_per_second:
                    raise TooSlow(verb, self._rate)
                self._waited, self._moved = 0.0, 0
        return count

    def makefile(self, _mode: str, size: int) -> BinaryIO:
        """Return a buffered reader."""
        return cast(BinaryIO, io.BufferedReader(_MeteredReader(self), size))

    def settimeout(self, value: float | None, /) -> None:
        """Set how long a response may take to begin, in seconds."""
        self._timeout = value

    def shutdown(self, how: int, /) -> None:
        """Shut down sending, receiving or both."""
        self._socket.shutdown(how)

    def close(self) -> None:
        """Close."""
        self._socket.close()


class _MeteredReader(io.RawIOBase):
    """What a metered socket receives, as a file."""

    def __init__(self, socket: MeteredSocket) -> None:
        super().__init__()
        self._socket = socket

    def readable(self) -> bool:
        """Whether it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into ``buffer``; return the number of bytes, 0 at the end."""
        return self._socket.recv_into(buffer)
