"""Supervises the process of a build from the worker, which itself touches nothing that a build influences.

It sends heartbeats and the log, stops the process when the build is cancelled or its time is over, kills it with all
that belongs to it if that has no effect, cleans up, and reports the outcome, also if the process could not.
"""

import time

import msgspec

from hythe.client.errors import ClientError
from hythe.worker.build_messages import (
    BuildMessage,
    BuildStart,
    Closing,
    Ended,
    HiddenTexts,
    LogFull,
    LogLine,
    StepBegan,
    StepEnded,
)
from hythe.worker.build_process import BuildProcess, InvalidMessage
from hythe.worker.errors import IsolationUnavailable, JobLost
from hythe.worker.hub_api import HubAPI
from hythe.worker.isolation.cgroup import ControlGroup
from hythe.worker.isolation.selection import Isolation
from hythe.worker.leftovers import remove_build
from hythe.worker.progress_upload import ProgressUpload
from hythe.worker.protocol import BuildOutcome, Job

STOP_GRACE = 1.0
"""Seconds from the request to stop until the process is killed."""
DEADLINE_GRACE = 2.0
"""Seconds from the deadline, at which the process ends itself, until it is killed."""
CLOSE_TIMEOUT = 20.0
"""Seconds in which a process that is done can release its disk."""
POLL_INTERVAL = 0.1


class Supervisor:
    """Runs one build in its process. Call ``run`` once; ``abandon`` is thread-safe."""

    def __init__(self, job: Job, hub: HubAPI, isolation: Isolation, process: BuildProcess) -> None:
        self._job = job
        self._hub = hub
        self._isolation = isolation
        self._process = process
        self._is_stopping = False
        self._progress = ProgressUpload(job, hub, self._stop)
        self._outcome: BuildOutcome | None = None
        self._kill_at = 0.0
        self._is_closing = False

    def _stop(self) -> None:
        self._is_stopping = True

    def abandon(self) -> None:
        """End the build without a report, so that another worker runs it."""
        self._progress.abandon()
        self._stop()

    def run(self, worker_token: str) -> BuildOutcome | None:
        """Run the build and report its outcome. Return it; None if another worker got the build."""
        progress, job = self._progress, self._job
        progress.start()
        progress.line(f"Build {job.number} of {job.repository}, attempt {job.fence}")
        progress.line(f"Isolation: {self._isolation}")
        try:
            outcome = self._supervise(worker_token)
        except BaseException:
            # Send no more heartbeats, so that another worker runs the build.
            progress.abandon()
            raise
        # A builder's reason may contain the output of a step.
        outcome = msgspec.structs.replace(outcome, reason=progress.mask_secrets(outcome.reason))
        progress.line(f"==> {outcome.status}{': ' + outcome.reason if outcome.reason else ''}")
        progress.close()
        if progress.lost:
            return None
        if progress.cancelled_by:
            outcome = BuildOutcome(status="cancelled", reason=f"cancelled by {progress.cancelled_by}")
        try:
            self._hub.finish(job, outcome)
        except (JobLost, ClientError):
            return None
        return outcome

    def _supervise(self, worker_token: str) -> BuildOutcome:
        """Run the process until it has ended, with all that belongs to it. Return the outcome."""
        job, name = self._job, self._job.attempt_name
        deadline = time.monotonic() + job.limits.seconds
        self._kill_at = deadline + DEADLINE_GRACE
        try:
            group = self._isolation.group(name, job.limits)
        except IsolationUnavailable as error:
            return BuildOutcome(status="failed", reason=str(error))
        ended = ""
        try:
            if group is not None:
                group.add_build_process(self._process.pid)
            folders = group.folders if group is not None else {}
            start = BuildStart(job, self._hub.url, worker_token, self._isolation, deadline, folders)
            self._process.start(start)
            self._exchange_messages()
            ended = self._process.wait()
            return self._outcome or self._outcome_of_killed(group, deadline, ended)
        except InvalidMessage as error:
            return _failed_worker(f"its process sent an invalid message: {error}")
        finally:
            if not ended:
                self._process.wait()
            if group is not None:
                group.close()
            remove_build(self._isolation.folder, name)

    def _exchange_messages(self) -> None:
        """Handle messages until the process has ended, or must be killed."""
        was_stopped = False
        while not self._process.has_ended and time.monotonic() < self._kill_at:
            if self._is_stopping and not was_stopped and not self._is_closing:
                was_stopped = True
                self._kill_at = min(self._kill_at, time.monotonic() + STOP_GRACE)
                self._process.stop()
            for message in self._process.exchange(POLL_INTERVAL):
                self._handle(message)

    def _handle(self, message: BuildMessage) -> None:
        match message:
            case LogLine(text):
                self._progress.line(text)
            case LogFull():
                self._progress.truncate()
            case HiddenTexts(texts):
                self._progress.hide(*texts)
            case StepBegan(name, at):
                self._progress.begin_step(name, at)
            case StepEnded(number, at):
                self._progress.end_step(number, at)
            case Closing():
                self._is_closing = True
                self._kill_at = time.monotonic() + CLOSE_TIMEOUT
            case Ended(outcome):
                self._outcome = outcome
                self._kill_at = time.monotonic() + STOP_GRACE

    def _outcome_of_killed(self, group: ControlGroup | None, deadline: float, ended: str) -> BuildOutcome:
        """Return the outcome of a process that ended without one."""
        problem = group.problem() if group is not None else ""
        if not problem and time.monotonic() > deadline:
            problem = f"it took longer than its {self._job.limits.seconds} seconds"
        if problem:
            return BuildOutcome(status="failed", reason=f"the build stopped: {problem}")
        if self._is_stopping:
            return BuildOutcome(status="cancelled", reason="stopped")
        return _failed_worker(f"its process of the build: {ended}")


def _failed_worker(problem: str) -> BuildOutcome:
    reason = f"the worker failed ({problem}): see its log, and retry when it is fixed"
    return BuildOutcome(status="failed", reason=reason[:2000])
