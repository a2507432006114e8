"""The worker's end of the process that runs a build (``build_main``): starts it, exchanges messages, kills it."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

import msgspec

from hythe.worker.build_messages import (
    MAX_REQUEST_SIZE,
    BuildMessage,
    BuildStart,
    ExitReply,
    ExitRequest,
    ForkReply,
    ForkRequest,
    Reply,
    decode_message,
    decode_reply,
    encode_message,
    encode_request,
)

MAX_MESSAGE_SIZE = 8 << 20
"""Maximum bytes of a message; the largest contains a result with the Dockerfile and README."""
_READ_SIZE = 1 << 18
_EXIT_TIMEOUT = 5.0
_EXIT_INTERVAL = 0.005
_REPLY_TIMEOUT = 60.0


class InvalidMessage(Exception):
    """The process sent something else than messages."""


class BuildForkServer:
    """The process that forks those of builds (``build_fork_server``). Thread-safe.

    It starts with the first fork, and again if it has ended. The worker's end ends it, and its end ends all forks.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0

    def fork(self) -> "BuildProcess":
        """Return a process that waits for its build. Raises OSError."""
        with contextlib.ExitStack() as opened:
            stdin, our_stdin = os.pipe()
            opened.callback(os.close, stdin)
            our_stdout, stdout = os.pipe()
            opened.callback(os.close, stdout)
            with contextlib.ExitStack() as ours:
                ours.callback(os.close, our_stdin)
                ours.callback(os.close, our_stdout)
                with self._lock:
                    reply = self._ask(self._running(), ForkRequest(), ForkReply, (stdin, stdout))
                    start = self._starts
                if not reply.pid:
                    raise OSError(reply.error)
                ours.pop_all()
        return BuildProcess(self, start, reply.pid, our_stdin, our_stdout)

    def exit_code(self, start: int, pid: int) -> int | None:
        """Return the exit code of a process, or minus the signal that ended it; None while it runs.

        ``start`` tells which start of the server forked it: those of an earlier one have ended with that.
        """
        with self._lock, contextlib.suppress(OSError):
            if self._requests is not None and self._starts == start:
                return self._ask(self._requests, ExitRequest(pid), ExitReply).code
        return -signal.SIGKILL

    def _ask(
        self,
        requests: socket.socket,
        request: ForkRequest | ExitRequest,
        kind: type[Reply],
        descriptors: Sequence[int] = (),
    ) -> Reply:
        try:
            socket.send_fds(requests, [encode_request(request)], descriptors)
            reply = requests.recv(MAX_REQUEST_SIZE)
            if not reply:
                raise ConnectionResetError("the process that starts builds has ended")
        except OSError:
            requests.close()
            self._requests = None
            raise
        return decode_reply(reply, kind)

    def _running(self) -> socket.socket:
        """Return the socket of a process that runs; start one if there is none."""
        if self._requests is not None and self._process is not None and self._process.poll() is None:
            return self._requests
        if self._requests is not None:
            self._requests.close()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", "hythe.worker.build_fork_server"]
            self._process = subprocess.Popen(command, stdin=theirs.fileno(), start_new_session=True)
        ours.settimeout(_REPLY_TIMEOUT)
        self._requests = ours
        self._starts += 1
        return ours


class BuildProcess:
    """A process for one build. It ends with the process that forked it, and so with the worker."""

    def __init__(self, server: BuildForkServer, start: int, pid: int, stdin: int, stdout: int) -> None:
        """Take over the worker's ends of its pipes; ``start`` as in ``exit_code``."""
        self.pid = pid
        """The process ID."""
        self._server = server
        self._start = start
        self._stdin = stdin
        self._stdout = stdout
        for descriptor in (stdin, stdout):
            os.set_blocking(descriptor, False)
        self._unsent = b""
        self._received = bytearray()
        self.has_ended = False
        """Whether it has sent everything that it will send."""
        self._code: int | None = None

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended yet."""
        return self._exit_code() is None

    def _exit_code(self) -> int | None:
        if self._code is None:
            self._code = self._server.exit_code(self._start, self.pid)
        return self._code

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
        if self._code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def wait(self) -> str:
        """Kill what is left of the process and its children; return how it ended."""
        deadline = time.monotonic() + _EXIT_TIMEOUT
        while self._code is None and time.monotonic() < deadline:
            # Repeatedly, because a new process does not have its own group at once.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            if self._exit_code() is None:
                time.sleep(_EXIT_INTERVAL)
        if self._code is None:
            return "it could not be killed"  # it waits for a disk in the kernel
        code = self._code
        return f"it was ended by signal {-code}" if code < 0 else f"it exited with {code}"

    def close(self) -> None:
        """Kill what is left of the process, and close its pipes."""
        self.wait()
        os.close(self._stdin)
        os.close(self._stdout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
