"""How a build's log reaches the hub."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from tests.unit.worker.test_shared_layers import JOB

from hythe.worker.errors import JobLost
from hythe.worker.progress_upload import GAP, ProgressUpload
from hythe.worker.protocol import BuildStep, HeartbeatReply, Job


class Hub:
    """The hub's side of a log: it accepts a chunk only at the end of the log."""

    def __init__(self) -> None:
        self.text = b""
        self.lost_bytes = 0

    def log(self, _job: Job, offset: int, content: bytes) -> HeartbeatReply:
        """Append a chunk; once, cut off the end of the log first."""
        if self.text and self.lost_bytes:
            self.text, self.lost_bytes = self.text[: -self.lost_bytes], 0
        if offset == len(self.text):
            self.text += content
        return HeartbeatReply(log_size=len(self.text))

    def report_steps(self, _job: Job, _steps: tuple[BuildStep, ...] | None) -> HeartbeatReply:
        """Accept a heartbeat."""
        return HeartbeatReply(log_size=len(self.text))


@pytest.fixture
def hub() -> Hub:
    """A hub with one log."""
    return Hub()


def started_upload(hub: Any) -> ProgressUpload:
    """Return an upload that sends to ``hub``."""
    progress = ProgressUpload(JOB, hub, lambda: None)
    progress.start()
    return progress


def test_every_line_arrives_in_order(hub: Hub) -> None:
    """This includes the last lines before the end, lines from several threads, and more than one chunk."""
    progress = started_upload(hub)
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


def test_a_job_that_another_worker_has_stops_the_build() -> None:
    """The upload stops the build and sends nothing more."""

    class TakenJob(Hub):
        def report_steps(self, _job: Job, _steps: tuple[BuildStep, ...] | None) -> HeartbeatReply:
            raise JobLost("another worker has this build")

    stopped = threading.Event()
    progress = ProgressUpload(JOB, TakenJob(), stopped.set)  # type: ignore[arg-type]
    progress.start()

    assert stopped.wait(10)
    assert progress.lost
    progress.close()


def test_a_hub_that_lost_the_end_of_the_log_gets_the_rest(hub: Hub) -> None:
    """The log says that lines were lost, and everything after them is complete."""
    progress = started_upload(hub)
    progress.line("one")
    while not hub.text:
        threading.Event().wait(0.01)
    hub.lost_bytes = len("one\n")
    lines = [f"line {number}" for number in range(100)]
    for line in lines:
        progress.line(line)
    progress.close()

    assert hub.text.decode() == GAP.decode() + "".join(f"{line}\n" for line in lines)
