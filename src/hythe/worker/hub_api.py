"""The worker's client of the hub: claims builds, reports progress and results. Thread-safe."""

from typing import TypeVar

import msgspec

from hythe.client.connection import BytesBody, ConnectionPool
from hythe.client.error_body import error_reason
from hythe.client.errors import ClientError, RegistryError
from hythe.client.http1 import HTTPResponse
from hythe.client.retry import RETRYABLE_STATUSES, Retries, RetryPolicy
from hythe.worker.errors import JobLost
from hythe.worker.protocol import (
    BuildOutcome,
    BuildStep,
    CheckedOutCommit,
    Claim,
    DiskKeys,
    DockerTags,
    HeartbeatReply,
    Job,
    ProgressReport,
    PushToken,
    SignedEnvelope,
    UnsignedStatement,
)

_Reply = TypeVar("_Reply")

KEY_HEADER = "Hythe-Build-Key"
FENCE_HEADER = "Hythe-Build-Fence"
LOST_STATUSES = (404, 409)
"""Status codes of the hub for a build that this worker has lost."""


class HubAPI:
    """A hub as seen by one worker. Failed requests are retried, and finally raise ClientError."""

    def __init__(self, url: str, token: str, connections: ConnectionPool, retries: Retries) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._connections = connections
        self._retries = retries

    def claim(self, claim: Claim) -> Job | None:
        """Wait for a build; return None if there was none."""
        response = self._send("POST", "/api/v1/workers/claim", msgspec.json.encode(claim), {})
        if response.status == 204:
            return None
        return _decode(_checked(response, "claiming a build").body, Job)

    def unknown_disks(self, kept: DiskKeys) -> DiskKeys:
        """Return those of the worker's kept disks that it should delete."""
        response = self._send("POST", "/api/v1/workers/kept-disks", msgspec.json.encode(kept), {})
        return _decode(_checked(response, "listing kept disks").body, DiskKeys)

    def report_steps(self, job: Job, steps: tuple[BuildStep, ...] | None) -> HeartbeatReply:
        """Send a heartbeat with the steps that changed. Raises JobLost."""
        body = msgspec.json.encode(ProgressReport(steps)) if steps is not None else b""
        return _decode(self._call(job, "progress", body), HeartbeatReply)

    def log(self, job: Job, offset: int, content: bytes) -> HeartbeatReply:
        """Append to the log at ``offset``. Raises JobLost."""
        return _decode(self._call(job, f"log?offset={offset}", content), HeartbeatReply)

    def report_commit(self, job: Job, checked_out: CheckedOutCommit) -> tuple[str, ...]:
        """Report the commit and return the Docker tags. Raises JobLost."""
        return _decode(self._call(job, "commit", msgspec.json.encode(checked_out)), DockerTags).tags

    def push_token(self, job: Job, repositories: tuple[str, ...] = ()) -> str:
        """Return a token for the build's repository that can also read those of ``repositories`` that the owner can."""
        return _decode(self._call(job, "token", msgspec.json.encode(repositories)), PushToken).token

    def sign(self, job: Job, payload: bytes) -> bytes:
        """Return a statement in a DSSE envelope signed by the hub."""
        body = msgspec.json.encode(UnsignedStatement(payload.decode()))
        return _decode(self._call(job, "sign", body), SignedEnvelope).envelope.encode()

    def finish(self, job: Job, outcome: BuildOutcome) -> None:
        """End the build. Raises JobLost."""
        self._call(job, "finish", msgspec.json.encode(outcome))

    def _call(self, job: Job, action: str, body: bytes) -> bytes:
        headers = {KEY_HEADER: job.key, FENCE_HEADER: str(job.fence)}
        path = f"/api/v1/workers/builds/{job.build_id}/{action}"
        while True:
            try:
                response = self._send("POST", path, body, headers)
            except ClientError:
                if not self._retries.wait():
                    raise
                continue
            if response.status in RETRYABLE_STATUSES and self._retries.wait(response.retry_after):
                continue
            self._retries.reset()
            return _checked(response, action).body

    def _send(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> HTTPResponse:
        sent = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json", **headers}
        with self._connections.send(method, self.url + path, sent, BytesBody(body)) as response:
            return response.read()


def retry_policy() -> RetryPolicy:
    """Return the retry policy for requests to the hub: wait up to about a minute for a restart of the hub."""
    return RetryPolicy(attempts=12, first_delay=0.2, max_delay=10)


def _checked(response: HTTPResponse, action: str) -> HTTPResponse:
    if response.status in LOST_STATUSES:
        raise JobLost("another worker has this build, or it has finished")
    if response.status not in (200, 204):
        reason = error_reason(response.body)
        message = f"the hub returned status {response.status} for {action}" + (f": {reason}" if reason else "")
        raise RegistryError(message, status=response.status)
    return response


def _decode(content: bytes, kind: type[_Reply]) -> _Reply:
    """Decode a response. Raises RegistryError if it is not the hub's, but that of a proxy in between, for example."""
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RegistryError("invalid response from the hub", "check the hub's address, and any proxy") from error
