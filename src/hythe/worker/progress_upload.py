"""Sends a build's log and steps to the hub, in a thread of the worker that no build can delay.

The same thread sends heartbeats. If the hub reports that the build is cancelled or belongs to another worker, it calls
``on_stop`` immediately.
"""

import threading
import time
from collections.abc import Callable

from hythe.client.errors import ClientError
from hythe.worker.errors import JobLost
from hythe.worker.hub_api import HubAPI
from hythe.worker.protocol import BuildStep, HeartbeatReply, Job
from hythe.worker.secret_mask import SecretMask

FLUSH_INTERVAL = 0.2
HEARTBEAT_INTERVAL = 1.0
CHUNK_SIZE = 256 * 1024
MAX_STEPS = 1000
"""Number of steps that are reported; a build has about ten for each platform."""
TRUNCATED = "\n[the log exceeds {limit} bytes: further output is discarded]\n"
GAP = b"[the hub lost a part of the log here]\n"


class ProgressUpload:
    """Collects a build's log, masks its secrets, and sends it. Keeps no more than the log's limit in memory."""

    def __init__(self, job: Job, hub: HubAPI, on_stop: Callable[[], None]) -> None:
        self._job = job
        self._hub = hub
        self._on_stop = on_stop
        self._mask = SecretMask()
        self._pending = bytearray()
        self._sent = job.log_size
        self._written = job.log_size
        self._steps: list[BuildStep] = []
        self._steps_sent = True
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.cancelled_by = ""
        self.lost = False
        self.hide(*job.secrets.values(), job.key)

    def start(self) -> None:
        """Start sending."""
        self._thread.start()

    def hide(self, *secrets: str) -> None:
        """Mask these in the log, too."""
        with self._lock:
            self._mask.hide(*secrets)

    def mask_secrets(self, text: str) -> str:
        """Return ``text`` with its secrets masked."""
        return self._mask.mask(text)

    def line(self, text: str) -> None:
        """Add a line to the log."""
        with self._lock:
            content = self.mask_secrets(text).encode(errors="replace") + b"\n"
            if self._written + len(content) > self._job.limits.log:
                self._truncate()
                return
            self._pending += content
            self._written += len(content)
        self._wake.set()

    def truncate(self) -> None:
        """Add to the log that it is full, and nothing more."""
        with self._lock:
            self._truncate()

    def _truncate(self) -> None:
        limit = self._job.limits.log
        if self._written < limit:
            self._pending += TRUNCATED.format(limit=limit).encode()
            self._written = limit
            self._wake.set()

    def begin_step(self, name: str, at: float) -> None:
        """Show a step, which began ``at`` seconds since the epoch."""
        with self._lock:
            if len(self._steps) < MAX_STEPS:
                self._steps.append(BuildStep(name, at))
                self._steps_sent = False

    def end_step(self, number: int, at: float) -> None:
        """Show how long a step took; ``number`` counts from 0."""
        with self._lock:
            if 0 <= number < len(self._steps):
                step = self._steps[number]
                self._steps[number] = BuildStep(step.name, step.started, round(at - step.started, 3))
                self._steps_sent = False

    def abandon(self) -> None:
        """Send nothing more, not even heartbeats, so that another worker takes over."""
        self.lost = True
        self._closed.set()
        self._wake.set()

    def close(self) -> None:
        """Send the rest, however long the hub takes; stop only when the requests are given up."""
        at = time.time()
        for number, step in enumerate(self._steps):
            if step.seconds is None:
                self.end_step(number, at)
        self._closed.set()
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        last_heartbeat = 0.0
        while not self.lost:
            closed = self._closed.is_set()
            try:
                self._send_log()
                if time.monotonic() - last_heartbeat > HEARTBEAT_INTERVAL or closed:
                    self._send_steps()
                    last_heartbeat = time.monotonic()
            except (JobLost, ClientError):
                # The hub gave the build away, or is unavailable for longer than we retry, so another worker takes over.
                self.lost = True
                self._on_stop()
                return
            if closed:
                return
            if self._wake.wait(HEARTBEAT_INTERVAL):
                self._wake.clear()
                self._closed.wait(FLUSH_INTERVAL)

    def _send_log(self) -> None:
        while True:
            with self._lock:
                chunk = bytes(self._pending[:CHUNK_SIZE])
            if not chunk:
                return
            reply = self._hub.log(self._job, self._sent, chunk)
            with self._lock:
                accepted = reply.log_size - self._sent
                self._sent = reply.log_size
                if accepted < 0:
                    # The hub's database lost parts, for instance in a power failure: continue where its log ends now.
                    self._pending[:0] = GAP
                else:
                    del self._pending[: min(accepted, len(chunk))]
            self._handle_reply(reply)
            if accepted == 0:
                return

    def _send_steps(self) -> None:
        with self._lock:
            steps = None if self._steps_sent else tuple(self._steps)
            self._steps_sent = True
        self._handle_reply(self._hub.report_steps(self._job, steps))

    def _handle_reply(self, reply: HeartbeatReply) -> None:
        if reply.cancelled_by and not self.cancelled_by:
            self.cancelled_by = reply.cancelled_by
            self._on_stop()
