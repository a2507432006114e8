"""The worker's end of the process that runs a build (``build_main``): starts it, exchanges messages, kills it."""

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import msgspec

from hythe.worker.build_messages import BuildMessage, BuildStart, decode_message, encode_message

MAX_MESSAGE_SIZE = 8 << 20
"""Maximum bytes of a message; the largest contains a result with the Dockerfile and README."""
_READ_SIZE = 1 << 18
_EXIT_TIMEOUT = 5.0


class InvalidMessage(Exception):
    """The process sent something else than messages."""


class BuildProcess:
    """A process for one build. It is killed when the thread that started it ends, or the worker."""

    def __init__(self) -> None:
        """Start the process. Raises OSError."""
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-m", "hythe.worker.build_main"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        if self._process.stdin is None or self._process.stdout is None:
            raise OSError("the process of a build has no pipes")
        self._stdin = self._process.stdin.fileno()
        self._stdout = self._process.stdout.fileno()
        for descriptor in (self._stdin, self._stdout):
            os.set_blocking(descriptor, False)
        self._unsent = b""
        self._received = bytearray()
        self.has_ended = False
        """Whether it has sent everything that it will send."""

    @property
    def pid(self) -> int:
        """The process ID."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended yet."""
        return self._process.poll() is None

    def start(self, start: BuildStart) -> None:
        """Give the process its build; ``exchange`` sends it."""
        self._unsent = encode_message(start)

    def exchange(self, seconds: float) -> Iterator[BuildMessage]:
        """Wait up to this time for messages and yield them, at least one if any arrived. Raises InvalidMessage."""
        poller = select.poll()
        poller.register(self._stdout, select.POLLIN)
        if self._unsent:
            poller.register(self._stdin, select.POLLOUT)
        for descriptor, _ in poller.poll(seconds * 1000):
            if descriptor == self._stdin:
                self._write()
            else:
                yield from self._read()

    def _write(self) -> None:
        try:
            self._unsent = self._unsent[os.write(self._stdin, self._unsent) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._unsent = b""  # it has ended, which reading shows

    def _read(self) -> Iterator[BuildMessage]:
        data = os.read(self._stdout, _READ_SIZE)
        self.has_ended = not data
        self._received += data
        *lines, rest = self._received.split(b"\n")
        self._received = rest
        if len(rest) > MAX_MESSAGE_SIZE:
            raise InvalidMessage(f"a message of more than {MAX_MESSAGE_SIZE} bytes")
        for line in lines:
            try:
                yield decode_message(bytes(line))
            except msgspec.MsgspecError as error:
                raise InvalidMessage(str(error)) from error

    def stop(self) -> None:
        """Ask the process to stop its build."""
        self._process.send_signal(signal.SIGTERM)

    def wait(self) -> str:
        """Kill what is left of the process and its children; return how it ended."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        try:
            code = self._process.wait(_EXIT_TIMEOUT)
        except subprocess.TimeoutExpired:
            return "it could not be killed"  # it waits for a disk in the kernel
        return f"it was ended by signal {-code}" if code < 0 else f"it exited with {code}"

    def close(self) -> None:
        """Kill what is left of the process, and close its pipes."""
        self.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
