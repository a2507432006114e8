"""The process of one build, forked by ``build_fork_server``.

It reads a BuildStart from standard input, runs the attempt and sends messages to standard output. SIGTERM stops the
build; at its deadline it ends itself.
"""

import os
import queue
import resource
import signal
import sys
import threading
import time
from urllib.parse import urlsplit

from hythe.client.client import Client
from hythe.client.retry import Retries
from hythe.unbuffered import write_all
from hythe.worker.attempt import Attempt
from hythe.worker.build_messages import BuildMessage, Ended, decode_start, encode_message
from hythe.worker.errors import BuildStopped, LimitReached
from hythe.worker.hub_api import HubAPI, retry_policy

MAX_MESSAGES = 100
"""Maximum number of messages to send with one write."""


class MessageSender:
    """Writes messages in a thread of its own, so that no signal interrupts the main thread within a message."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._queue: queue.SimpleQueue[BuildMessage] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def send(self, message: BuildMessage) -> None:
        """Send a message soon. Thread-safe."""
        self._queue.put(message)

    def close(self, outcome: Ended) -> None:
        """Send the last message, and return when everything is sent."""
        self._queue.put(outcome)
        self._thread.join()

    def _run(self) -> None:
        while True:
            messages = [self._queue.get()]
            while len(messages) < MAX_MESSAGES and not self._queue.empty():
                messages.append(self._queue.get())
            write_all(self._descriptor, b"".join(map(encode_message, messages)))
            if isinstance(messages[-1], Ended):
                return


def main() -> None:
    """Run the build that standard input describes; return at once if it ends without one."""
    output = os.dup(1)
    os.dup2(2, 1)  # what libraries print must not get between the messages
    line = sys.stdin.buffer.readline()
    if not line:
        return
    start = decode_start(line)
    limits = start.job.limits
    if not start.groups:
        resource.setrlimit(resource.RLIMIT_DATA, (limits.memory, limits.memory))
    sender = MessageSender(output)
    parts = urlsplit(start.hub_url)
    plain_http = (parts.netloc,) if parts.scheme == "http" else ()
    client = Client(plain_http=plain_http, transfer_rate=limits.least_rate)
    retries = Retries(retry_policy(), threading.Event())
    hub = HubAPI(start.hub_url, start.worker_token, client.connections, retries)
    attempt = Attempt(start, hub, client, sender.send)
    signal.signal(signal.SIGTERM, lambda *_: attempt.interrupt(BuildStopped()))
    late = LimitReached(f"it took longer than its {limits.seconds} seconds")
    signal.signal(signal.SIGALRM, lambda *_: attempt.interrupt(late))
    signal.setitimer(signal.ITIMER_REAL, max(0.001, start.deadline - time.monotonic()))
    sender.close(Ended(attempt.run()))
