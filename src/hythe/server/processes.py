"""A server of several processes: a supervisor, which starts them, and replaces each that ends.

The supervisor binds the port with one socket for each process (SO_REUSEPORT: the kernel spreads connections over them
evenly, where processes that share one socket leave a burst of connections to the first that wakes up). It keeps all of
them open, so that connections that a dead process had not accepted wait for another one. It opens no database and no
event loop, so that a process can be forked from it at any time: with all modules loaded, in some milliseconds.

The first process starts alone: it upgrades the schema, and its failure is that of the command. It also runs the
background tasks, until it dies; then the next one does.
"""

import gc
import logging
import mmap
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from hythe.server.listening import Address, bind
from hythe.server.siblings import LARGEST_MESSAGE, Siblings
from hythe.settings import Settings
from hythe.telemetry.shared_snapshots import SharedSnapshots

MOST_BY_DEFAULT = 8
"""Processes that ``auto`` starts at most: each needs memory and connections to the database."""

RESTART_DELAY = 0.5
"""Seconds before a process is replaced that ended soon after its start; doubled each time."""
MAX_RESTART_DELAY = 30.0
HEALTHY_RUN_TIME = 30.0
"""A process that ran for this many seconds is replaced at once."""

SHARED_MEMORY = 1 << 20
"""Bytes of memory that all processes share."""

KILL_DELAY = 10.0
"""Seconds after ``stop_timeout`` in which processes must have ended; then they are killed."""

log = logging.getLogger(__name__)


def process_count(settings: Settings) -> int:
    """Return how many processes these settings ask for.

    ``auto`` is one with SQLite, where one writes at a time and one process combines writes best, and half the cores
    with PostgreSQL, which needs about as much CPU time for a request as this server.
    """
    if settings.processes != "auto":
        return settings.processes
    return max(1, min(MOST_BY_DEFAULT, usable_cores() // 2)) if settings.database_url else 1


def usable_cores() -> int:
    """Return how many cores this process may use, by its affinity and the quota of its control group."""
    cores = len(os.sched_getaffinity(0))
    with suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def run_processes(
    settings: Settings,
    read: Callable[[], Settings],
    serve: Callable[[Settings, Siblings], int],
    ready: Callable[[Address], None],
) -> int:
    """Serve with several processes until SIGTERM, and return the exit code.

    ``serve`` runs in each process, and returns its exit code; what it raises before the server is ready ends the
    process and the command like in a server of one process. ``read`` reads the settings again, for SIGHUP; it may
    raise SettingsError. ``ready`` is called once, when all processes accept connections. Raises CannotListen.
    """
    return _Supervisor(settings, read, serve, ready).run()


def bind_several(address: Address, count: int) -> list[socket.socket]:
    """Return ``count`` sockets that listen on one address and share its connections. Raises CannotListen."""
    with bind(address) as probe:  # fails if another server listens, also one that would share its connections
        host, port = probe.getsockname()[:2]
    return [bind((host, port), shared=True) for _ in range(count)]


@dataclass(slots=True)
class _Process:
    """A running process; times are those of the monotonic clock."""

    number: int
    pid: int
    channel: socket.socket
    started: float
    ready: bool = False
    covers: set[int] = field(default_factory=set)
    """Processes whose connections it accepts as well."""


class _Supervisor:
    def __init__(
        self,
        settings: Settings,
        read: Callable[[], Settings],
        serve: Callable[[Settings, Siblings], int],
        ready: Callable[[Address], None],
    ) -> None:
        self._settings = settings
        self._read = read
        self._serve = serve
        self._ready = ready
        self._count = process_count(settings)
        self._metrics = SharedSnapshots(self._count) if settings.metrics_listen else None
        self._processes: dict[int, _Process] = {}
        self._leader: int | None = None
        self._restarts: dict[int, float] = {}
        self._delays: dict[int, float] = {}
        self._selector = selectors.DefaultSelector()
        self._signals: list[int] = []
        self._stop_by: float | None = None
        self._exit_code: int | None = None
        self._announced = False
        self._listeners: Sequence[socket.socket] = ()

    def run(self) -> int:
        self._listeners = bind_several(self._settings.address, self._count)
        self._memory = mmap.mmap(-1, SHARED_MEMORY)
        gc.freeze()  # or collections in the processes would copy the memory of all modules
        with self._woken_by_signals():
            self._start(0)
            while self._processes or (self._stop_by is None and self._restarts):
                self._wait()
        return self._exit_code or 0

    def _wait(self) -> None:
        """Wait for the next event, and handle it."""
        for key, _ in self._selector.select(self._pause()):
            if isinstance(key.data, _Process):
                self._receive(key.data)
            else:
                with suppress(BlockingIOError):
                    key.fileobj.recv(LARGEST_MESSAGE)  # type: ignore[union-attr]
        while self._signals:
            self._handle_signal(self._signals.pop(0))
        self._reap()
        now = time.monotonic()
        if self._stop_by is not None:
            if now > self._stop_by:
                self._kill_all()
            return
        for number in [number for number, due in self._restarts.items() if due <= now]:
            del self._restarts[number]
            self._start(number)

    def _pause(self) -> float | None:
        """Return how many seconds there is nothing to do; None: until something happens."""
        times = [self._stop_by] if self._stop_by is not None else list(self._restarts.values())
        return max(0.0, min(times) - time.monotonic()) if times else None

    @contextmanager
    def _woken_by_signals(self) -> Iterator[None]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        self._selector.register(ours, selectors.EVENT_READ)
        self._wake = (ours, theirs)
        signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, self._note)
        yield

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            self._signals.append(number)

    def _handle_signal(self, number: int) -> None:
        if number == signal.SIGHUP:
            self._reload()
        else:
            self._stop()

    def _reload(self) -> None:
        """Let all processes reload their settings, and give later ones what can change while a server runs."""
        from hythe.server.reloading import reloadable_part
        from hythe.settings import SettingsError

        with suppress(SettingsError):  # each process reports it
            self._settings = reloadable_part(self._settings, self._read())
        self._tell_all("reload")

    # Processes

    def _start(self, number: int) -> None:
        """Fork a process. In it, this does not return."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # Handlers wait for the fork, or one could run in the process before that has its own.
        signals = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
        try:
            pid = os.fork()
        except OSError as error:
            signal.pthread_sigmask(signal.SIG_SETMASK, signals)
            ours.close()
            theirs.close()
            self._try_again(number, error)
            return
        if pid == 0:
            ours.close()
            self._become_process(signals)
            raise SystemExit(
                self._serve(self._settings, Siblings(theirs, number, self._listeners, self._memory, self._metrics))
            )
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)
        theirs.close()
        ours.setblocking(False)
        process = self._processes[number] = _Process(number, pid, ours, time.monotonic())
        self._selector.register(ours, selectors.EVENT_READ, process)

    def _try_again(self, number: int, error: OSError) -> None:
        if not self._announced:
            raise error
        log.error("cannot start a server process, and try again in %g s: %s", MAX_RESTART_DELAY, error.strerror)
        self._restarts[number] = time.monotonic() + MAX_RESTART_DELAY

    def _become_process(self, signals: "set[int | signal.Signals]") -> None:
        """Give up everything of the supervisor."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        for number in (signal.SIGINT, signal.SIGHUP):  # the terminal sends the first to all, the supervisor stops them
            signal.signal(number, _ignore)
        for other in self._processes.values():
            other.channel.close()
        for end in self._wake:
            end.close()
        self._selector.close()
        self._processes.clear()
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)

    def _receive(self, process: _Process) -> None:
        """Handle what a process says; its end is left to ``_reap``."""
        while True:
            try:
                message = process.channel.recv(LARGEST_MESSAGE).decode()
            except BlockingIOError:
                return
            except ConnectionResetError:
                message = ""
            if message == "ready":
                self._take_up(process)
            elif message:
                for other in self._processes.values():
                    if other is not process and other.ready:
                        self._tell(other, message)
            else:
                self._selector.unregister(process.channel)
                process.channel.close()
                return

    def _take_up(self, process: _Process) -> None:
        """A process accepts connections now."""
        process.ready = True
        for other in self._processes.values():
            if process.number in other.covers:
                other.covers.discard(process.number)
                self._tell(other, f"decline {process.number}")
        self._elect()
        self._cover()
        if not self._announced and self._stop_by is None:
            for number in range(self._count):
                if number not in self._processes:
                    self._start(number)
            if all(each.ready for each in self._processes.values()):
                self._announced = True
                self._ready(self._listeners[0].getsockname()[:2])

    def _reap(self) -> None:
        for process in list(self._processes.values()):
            ended, status = os.waitpid(process.pid, os.WNOHANG)
            if ended:
                self._ended(process, os.waitstatus_to_exitcode(status))

    def _ended(self, process: _Process, code: int) -> None:
        del self._processes[process.number]
        if process.channel.fileno() >= 0:
            self._selector.unregister(process.channel)
            process.channel.close()
        if self._leader == process.number:
            self._leader = None
        if self._stop_by is not None:
            return
        if not self._announced:
            # It has reported why, unless a signal ended it.
            if code < 0:
                log.error("server process %d was ended by signal %d during its start", process.pid, -code)
            self._exit_code = code if code > 0 else 1
            self._stop()
            return
        delay = self._delay(process)
        log.error(
            "server process %d ended with %s; another one starts %s",
            process.pid,
            f"signal {-code}" if code < 0 else f"exit code {code}",
            f"in {delay:g} s" if delay else "at once",
        )
        self._restarts[process.number] = time.monotonic() + delay
        self._elect()
        self._cover()

    def _delay(self, process: _Process) -> float:
        """Return how long to wait before the next start: longer each time, unless the process ran for a while."""
        if process.ready and time.monotonic() - process.started > HEALTHY_RUN_TIME:
            self._delays.pop(process.number, None)
            return 0.0
        delay = self._delays.get(process.number, 0.0)
        self._delays[process.number] = min(MAX_RESTART_DELAY, delay * 2 or RESTART_DELAY)
        return delay

    def _elect(self) -> None:
        """Let a ready process run the background tasks, if none does."""
        ready = [each for each in self._processes.values() if each.ready]
        if self._leader is None and ready and self._stop_by is None:
            self._leader = ready[0].number
            self._tell(ready[0], "lead")

    def _cover(self) -> None:
        """Let a ready process accept the connections of each process that has ended and is not replaced yet."""
        ready = [each for each in self._processes.values() if each.ready]
        if not ready or not self._announced or self._stop_by is not None:
            return
        served = {each.number for each in ready}.union(*(each.covers for each in ready))
        for number in set(range(self._count)) - served:
            least = min(ready, key=lambda each: len(each.covers))
            least.covers.add(number)
            self._tell(least, f"accept {number}")

    # Stop

    def _stop(self) -> None:
        """Stop all processes; the second call ends them without waiting for requests."""
        first = self._stop_by is None
        graceful = self._settings.drain_delay + self._settings.stop_timeout + KILL_DELAY
        self._stop_by = time.monotonic() + (graceful if first else KILL_DELAY)
        for listener in self._listeners:  # the processes have their own descriptors, and close them in their time
            listener.close()
        for process in self._processes.values():
            if not process.ready:
                os.kill(process.pid, signal.SIGTERM)
            else:
                self._tell(process, "stop" if first else "end")

    def _kill_all(self) -> None:
        for process in self._processes.values():
            log.error("server process %d did not stop in time, and is killed", process.pid)
            os.kill(process.pid, signal.SIGKILL)
        self._stop_by = time.monotonic() + KILL_DELAY

    def _tell_all(self, message: str) -> None:
        for process in self._processes.values():
            self._tell(process, message)

    def _tell(self, process: _Process, message: str) -> None:
        try:
            process.channel.send(message.encode())
        except BlockingIOError:
            if not message.startswith("wake"):  # which only saves time
                log.error("server process %d does not respond, and is killed", process.pid)
                os.kill(process.pid, signal.SIGKILL)
        except OSError:
            return  # it has ended, which ``_reap`` finds


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """A handler, because SIG_IGN would be inherited by the programs that the process starts."""
