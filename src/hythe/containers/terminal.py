"""The container's terminal, received from the runtime, and the user's, in raw mode while attached."""

import fcntl
import os
import socket
import tempfile
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self


class ConsoleSocket:
    """The socket that the runtime sends the container's terminal to; a context manager."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="hythe-")  # socket paths are limited to 107 bytes
        self.path = Path(self._folder.name) / "console"
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(self.path))
        self._socket.listen(1)

    def receive(self) -> int:
        """Return the descriptor of the container's terminal."""
        connection, _ = self._socket.accept()
        with connection:
            descriptors = socket.recv_fds(connection, 4096, 1)[1]
        return descriptors[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        self._folder.cleanup()


@contextmanager
def raw_input() -> Iterator[None]:
    """Put the user's terminal, if any, into raw mode during the block, so that all keys reach the container."""
    if not os.isatty(0):
        yield
        return
    before = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def copy_size(terminal: int) -> None:
    """Copy the size of the user's terminal, if any, to the container's."""
    if os.isatty(0):
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8)))
