"""The processes that serve together with this one, as this one sees them: started by one supervisor (``processes``).

Each has a channel to the supervisor, which carries short messages:

    ready                 this process accepts connections
    wake NAME             the event NAME happened; the supervisor passes it on to all others
    lead                  this process now runs the background tasks
    accept N, decline N   (stop to) accept connections of another process as well, which has died
    reload, stop, end     what SIGHUP, the first SIGTERM and the second one ask for

The end of the channel is the end of the supervisor: nothing would replace this process, so it stops.
"""

import asyncio
import contextlib
import logging
import mmap
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence

from hythe.server.listening import Address, bind
from hythe.telemetry.shared_snapshots import SharedSnapshots
from hythe.wake_ups import WakeUp

LARGEST_MESSAGE = 256
"""Bytes."""

log = logging.getLogger(__name__)


@contextlib.contextmanager
def listening(address: Address, siblings: "Siblings | None") -> Iterator[socket.socket]:
    """Return the socket of this process, or bind one to ``address`` until the block ends. Raises CannotListen."""
    if siblings is not None:
        yield siblings.listener
        return
    with bind(address) as listener:
        yield listener


class Siblings:
    """The channel of a process to the others."""

    def __init__(
        self,
        channel: socket.socket,
        number: int,
        listeners: Sequence[socket.socket],
        memory: mmap.mmap,
        metrics: SharedSnapshots | None = None,
    ) -> None:
        """Process ``number`` accepts the connections of ``listeners[number]``, and those of others when asked to.

        ``metrics``: where all processes show what they count; None: it is not counted.
        """
        self.metrics = metrics
        self._channel = channel
        self.number = number
        self.listeners = listeners
        """One for each process."""
        self.memory = memory
        """What all processes share, for ``SharedBuckets``."""
        self.leads = asyncio.Event()
        """Set once this process is the one that runs the background tasks."""
        self._actions: dict[str, Callable[[], None]] = {"lead": self.leads.set}
        self._wake_ups: Mapping[str, WakeUp] = {}

    @property
    def listener(self) -> socket.socket:
        """The socket whose connections this process accepts."""
        return self.listeners[self.number]

    def on(self, message: str, action: Callable[[], None]) -> None:
        """Call ``action`` for each such message from now on."""
        self._actions[message] = action

    def share(self, wake_ups: Mapping[str, WakeUp]) -> None:
        """Announce these events to the other processes, and set those that they announce."""
        self._wake_ups = wake_ups
        for name, wake_up in wake_ups.items():
            wake_up.announce = lambda name=name: self._send(f"wake {name}")  # type: ignore[misc]

    def open(self) -> None:
        """Say that this process accepts connections, and act on messages from now on."""
        self._channel.setblocking(False)
        asyncio.get_running_loop().add_reader(self._channel, self._receive)
        self._send("ready")

    def close(self) -> None:
        """Act on messages no more."""
        asyncio.get_running_loop().remove_reader(self._channel)

    def _receive(self) -> None:
        try:
            message = self._channel.recv(LARGEST_MESSAGE).decode()
        except BlockingIOError:
            return
        except ConnectionResetError:
            message = ""
        if not message:
            self.close()
            log.error("the supervisor of this process has ended, so this process stops, too")
            message = "stop"
        verb, _, name = message.partition(" ")
        if verb == "wake":
            if name in self._wake_ups:
                self._wake_ups[name].set_here()
        elif message in self._actions:
            self._actions[message]()

    def _send(self, message: str) -> None:
        # A full or closed channel loses a wake-up: a task that waits for it looks again by itself after a while.
        with contextlib.suppress(OSError):
            self._channel.send(message.encode())
