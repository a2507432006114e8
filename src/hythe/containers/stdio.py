"""Relays a container's input, output and signals, and writes its log, until it exits."""

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NamedTuple

from hythe.containers.log import LogWriter
from hythe.containers.terminal import copy_size
from hythe.unbuffered import write_all

_CHUNK_SIZE = 64 << 10
_NOT_FORWARDED = {  # signals for hythe itself, or that cannot be caught
    signal.SIGCHLD,
    signal.SIGPIPE,
    signal.SIGKILL,
    signal.SIGSTOP,
    signal.SIGTSTP,
    signal.SIGCONT,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGURG,
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGABRT,
    signal.SIGTRAP,
    signal.SIGSYS,
}
FORWARDED = tuple(sorted(set(signal.Signals) - _NOT_FORWARDED))


class ContainerStreams(NamedTuple):
    """Our ends of the container's streams, -1 for none. A terminal is both ``stdin`` and ``stdout``."""

    stdin: int
    stdout: int
    stderr: int
    is_terminal: bool = False


class Attachment(NamedTuple):
    """The user's streams that are attached to the container: descriptors, -1 for none."""

    stdin: int = -1
    stdout: int = -1
    stderr: int = -1


class StreamRelay:
    """Relays streams and signals of one container; ``process`` is its first process, a child of this one."""

    def __init__(self, process: int, streams: ContainerStreams, attachment: Attachment, log: LogWriter) -> None:
        self._process = os.pidfd_open(process)
        self._streams = streams
        self._attachment = attachment
        self._log = log
        self._sources = {streams.stdout: ("stdout", attachment.stdout), streams.stderr: ("stderr", attachment.stderr)}
        self._sources.pop(-1, None)
        self._reads_input = attachment.stdin >= 0 and streams.stdin >= 0
        self._input = b""
        if streams.stdin >= 0:
            os.set_blocking(streams.stdin, False)  # stays open without a writer, like docker's

    def run(self) -> None:
        """Relay until the process has exited and all its output is written."""
        with _signal_wakeup() as (wakeup, received):
            ended = False
            while not ended or self._has_sources():
                ready = self._wait(wakeup, ended)
                ended = ended or self._process in ready
                self._handle_signals(wakeup if wakeup in ready else -1, received)
                for descriptor in [d for d in self._sources if d in ready]:
                    self._pass_output(descriptor)
                self._pass_input(ready)
                if ended and not any(d in ready for d in self._sources):
                    break  # another process may keep the pipe open, but the container's output is complete
        os.close(self._process)

    def _has_sources(self) -> bool:
        return bool(self._sources)

    def _wait(self, wakeup: int, ended: bool) -> set[int]:
        poll = select.poll()
        poll.register(wakeup, select.POLLIN)
        for descriptor in self._sources:
            poll.register(descriptor, select.POLLIN)
        if not ended:
            poll.register(self._process, select.POLLIN)
            if self._input:
                poll.register(self._streams.stdin, select.POLLOUT | (select.POLLIN if self._streams.is_terminal else 0))
            elif self._reads_input:
                poll.register(self._attachment.stdin, select.POLLIN)
        return {descriptor for descriptor, _ in poll.poll(0 if ended else None)}

    def _handle_signals(self, wakeup: int, received: list[int]) -> None:
        if wakeup >= 0:
            os.read(wakeup, _CHUNK_SIZE)
        while received:
            number = received.pop(0)
            if number == signal.SIGWINCH:
                if self._streams.is_terminal:
                    copy_size(self._streams.stdin)
                continue
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._process, number)

    def _pass_output(self, descriptor: int) -> None:
        name, target = self._sources[descriptor]
        try:
            data = os.read(descriptor, _CHUNK_SIZE)
        except BlockingIOError:
            return
        except OSError:  # EIO: the terminal has no more users
            data = b""
        if not data:
            del self._sources[descriptor]
            return
        self._log.write(name, data)
        if target >= 0 and not _write_all(target, data):
            self._sources[descriptor] = (name, -1)  # the reader closed its end; keep logging

    def _pass_input(self, ready: set[int]) -> None:
        if self._input and self._streams.stdin in ready:
            self._flush_input()
        elif self._reads_input and self._attachment.stdin in ready:
            try:
                self._input = os.read(self._attachment.stdin, _CHUNK_SIZE)
            except OSError:  # the user's terminal was closed
                self._input = b""
            if self._input:
                self._flush_input()
            else:
                self._end_input()

    def _flush_input(self) -> None:
        try:
            self._input = self._input[os.write(self._streams.stdin, self._input) :]
        except BlockingIOError:
            return
        except OSError:  # the container closed it
            self._end_input()

    def _end_input(self) -> None:
        self._input = b""
        self._reads_input = False
        if self._streams.is_terminal:
            with suppress(OSError):
                os.write(self._streams.stdin, b"\x04")  # Ctrl-D ends the input of a terminal
        else:
            os.close(self._streams.stdin)


def _write_all(descriptor: int, data: bytes) -> bool:
    """Write all bytes; return whether the reader is still there."""
    try:
        write_all(descriptor, data)
    except OSError:
        return False
    return True


@contextmanager
def _signal_wakeup() -> Iterator[tuple[int, list[int]]]:
    """Collect signals during the block; yields a descriptor that becomes readable, and the list of signals."""
    received: list[int] = []
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def record(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, record) for number in FORWARDED}
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield reading, received
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)
