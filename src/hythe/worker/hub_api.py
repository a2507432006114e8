"""The worker's client of the hub: claims builds, reports progress and results. Thread-safe."""

import msgspec

from hythe.client.connection import BytesBody, ConnectionPool
from hythe.client.errors import ClientError, RegistryError
from hythe.client.http1 import HTTPResponse
from hythe.client.retry import RETRYABLE_STATUSES, Retries, RetryPolicy
from hythe.worker.errors import JobLost
from hythe.worker.protocol import (
    BuildOutcome,
    BuildStep,
    CheckedOutCommit,
    Claim,
    DockerTags,
    HeartbeatReply,
    Job,
    ProgressReport,
    PushToken,
    SignedEnvelope,
    UnsignedStatement,
)

KEY_HEADER = "Hythe-Build-Key"
FENCE_HEADER = "Hythe-Build-Fence"
GONE = (404, 409)
"""Status codes of the hub for a build that this worker no longer has."""


class HubAPI:
    """A hub as seen by one worker. Failed calls are retried, and finally raise ClientError."""

    def __init__(self, url: str, token: str, connections: ConnectionPool, retries: Retries) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._connections = connections
        self._retries = retries

    def claim(self, claim: Claim) -> Job | None:
        """Wait for a build; return None if there was none."""
        answer = self._once("POST", "/api/v1/workers/claim", msgspec.json.encode(claim), {})
        if answer.status == 204:
            return None
        return msgspec.json.decode(_good(answer, "claiming a build").body, type=Job)

    def tell(self, job: Job, steps: tuple[BuildStep, ...] | None) -> HeartbeatReply:
        """Send a heartbeat with the steps that changed. Raises JobLost."""
        body = msgspec.json.encode(ProgressReport(steps)) if steps is not None else b""
        return msgspec.json.decode(self._of(job, "progress", body), type=HeartbeatReply)

    def log(self, job: Job, offset: int, content: bytes) -> HeartbeatReply:
        """Append to the log at ``offset``. Raises JobLost."""
        return msgspec.json.decode(self._of(job, f"log?offset={offset}", content), type=HeartbeatReply)

    def found(self, job: Job, found: CheckedOutCommit) -> tuple[str, ...]:
        """Report the commit and return the Docker tags. Raises JobLost."""
        return msgspec.json.decode(self._of(job, "commit", msgspec.json.encode(found)), type=DockerTags).tags

    def push_token(self, job: Job, repositories: tuple[str, ...] = ()) -> str:
        """Return a token for the build's repository, which may also read those of ``repositories`` that its owner may
        read.
        """
        return msgspec.json.decode(self._of(job, "token", msgspec.json.encode(repositories)), type=PushToken).token

    def sign(self, job: Job, payload: bytes) -> bytes:
        """Return a statement in a DSSE envelope that the hub signed."""
        body = msgspec.json.encode(UnsignedStatement(payload.decode()))
        return msgspec.json.decode(self._of(job, "sign", body), type=SignedEnvelope).envelope.encode()

    def finish(self, job: Job, outcome: BuildOutcome) -> None:
        """End the build. Raises JobLost."""
        self._of(job, "finish", msgspec.json.encode(outcome))

    def _of(self, job: Job, what: str, body: bytes) -> bytes:
        headers = {KEY_HEADER: job.key, FENCE_HEADER: str(job.fence)}
        path = f"/api/v1/workers/builds/{job.build_id}/{what}"
        while True:
            try:
                answer = self._once("POST", path, body, headers)
            except ClientError:
                if not self._retries.wait():
                    raise
                continue
            if answer.status in RETRYABLE_STATUSES and self._retries.wait(answer.retry_after):
                continue
            self._retries.reset()
            return _good(answer, what).body

    def _once(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> HTTPResponse:
        sent = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json", **headers}
        with self._connections.send(method, self.url + path, sent, BytesBody(body)) as response:
            return response.read()


def retry_policy() -> RetryPolicy:
    """Return the retry policy for requests to the hub: wait up to about a minute for a restart of the hub."""
    return RetryPolicy(attempts=12, first_delay=0.2, max_delay=10)


def _good(answer: HTTPResponse, what: str) -> HTTPResponse:
    if answer.status in GONE:
        raise JobLost("another worker has this build, or it has finished")
    if answer.status not in (200, 204):
        said = answer.body[:300].decode(errors="replace")
        raise RegistryError(f"the hub returned status {answer.status} for {what}: {said}", status=answer.status)
    return answer
