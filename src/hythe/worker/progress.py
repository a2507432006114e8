"""The progress of a build, as the code that runs it reports it: log lines and steps, sent to the worker."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from hythe.worker.build_messages import BuildMessage, Closing, HiddenTexts, LogFull, LogLine, StepBegan, StepEnded
from hythe.worker.protocol import Job
from hythe.worker.secret_mask import SecretMask


class ProgressReporter:
    """Passes a build's log and steps to ``send``, and no more lines than the log has room for. Thread-safe."""

    def __init__(self, job: Job, send: Callable[[BuildMessage], None]) -> None:
        self._send = send
        self._left = job.limits.log - job.log_size
        self._steps = 0
        self._lock = threading.Lock()
        self._mask = SecretMask()
        self._mask.hide(*job.secrets.values(), job.key)

    def hide(self, *secrets: str) -> None:
        """Mask these in the log, too."""
        self._mask.hide(*secrets)
        self._send(HiddenTexts(secrets))

    def mask_secrets(self, text: str) -> str:
        """Return ``text`` with its secrets masked, before it is shortened: half a secret would not be recognized."""
        return self._mask.mask(text)

    def line(self, text: str) -> None:
        """Add a line to the log."""
        with self._lock:
            if self._left < 0:
                return
            self._left -= len(text) + 1
            self._send(LogLine(text) if self._left >= 0 else LogFull())

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step, and show it while it runs."""
        self.line(f"==> {name} ({datetime.now(UTC):%H:%M:%S})")
        with self._lock:
            number = self._steps
            self._steps += 1
            self._send(StepBegan(name, time.time()))
        try:
            yield
        finally:
            self._send(StepEnded(number, time.time()))

    def closing(self) -> None:
        """Report that the build's work is over, and that only its disk is left to be released."""
        self._send(Closing())
