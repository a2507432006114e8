"""A build's log on its way to the hub."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from tests.unit.worker.test_shared_layers import JOB

from hythe.worker.progress import GAP, ProgressReporter
from hythe.worker.protocol import BuildStep, HeartbeatReply, Job


class Hub:
    """The hub's side of a log: a piece counts where the log ends, and nowhere else."""

    def __init__(self) -> None:
        self.text = b""
        self.forget = 0

    def log(self, _job: Job, offset: int, content: bytes) -> HeartbeatReply:
        """Take a piece; once, after the first, the end of the log is forgotten before the next one comes."""
        if self.text and self.forget:
            self.text, self.forget = self.text[: -self.forget], 0
        if offset == len(self.text):
            self.text += content
        return HeartbeatReply(log_size=len(self.text))

    def report_steps(self, _job: Job, _steps: tuple[BuildStep, ...] | None) -> HeartbeatReply:
        """Take a sign of life."""
        return HeartbeatReply(log_size=len(self.text))


@pytest.fixture
def hub() -> Hub:
    """A hub that keeps one log."""
    return Hub()


def recording(hub: Any) -> ProgressReporter:
    """A record that is being sent to ``hub``."""
    progress = ProgressReporter(JOB, hub, lambda: None)
    progress.start()
    return progress


def test_every_line_arrives_in_order(hub: Hub) -> None:
    """Also the last ones before the end, from several threads, and what is longer than a piece."""
    progress = recording(hub)
    texts = [[f"{thread} {number} {'x' * 100}" for number in range(5000)] for thread in range(4)]
    threads = [threading.Thread(target=lambda lines=lines: [progress.line(line) for line in lines]) for lines in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    progress.line("the last one")
    progress.close()

    arrived = hub.text.decode().splitlines()
    assert arrived[-1] == "the last one"
    assert len(arrived) == 20_001
    for number, lines in enumerate(texts):
        assert [line for line in arrived if line.startswith(f"{number} ")] == lines


def test_a_hub_that_forgot_the_end_gets_the_rest(hub: Hub) -> None:
    """What it lost is said to be lost; all that comes after is there as a whole."""
    progress = recording(hub)
    progress.line("one")
    while not hub.text:
        threading.Event().wait(0.01)
    hub.forget = len("one\n")
    lines = [f"line {number}" for number in range(100)]
    for line in lines:
        progress.line(line)
    progress.close()

    assert hub.text.decode() == GAP.decode() + "".join(f"{line}\n" for line in lines)
