"""The worker's way to the hub: claim a build, tell how it goes, end it. Safe for threads."""

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
"""What the hub answers when a build is not this worker's any more."""


class HubAPI:
    """One hub, as one worker. Calls that fail on the way are tried again; raises ClientError at last."""

    def __init__(self, url: str, token: str, connections: ConnectionPool, retries: Retries) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._connections = connections
        self._retries = retries

    def claim(self, claim: Claim) -> Job | None:
        """Wait for a build; None when there was none."""
        answer = self._once("POST", "/api/v1/workers/claim", msgspec.json.encode(claim), {})
        if answer.status == 204:
            return None
        return msgspec.json.decode(_good(answer, "asking for a build").body, type=Job)

    def tell(self, job: Job, steps: tuple[BuildStep, ...] | None) -> HeartbeatReply:
        """Say that the build goes on, and its steps where they changed. Raises JobLost."""
        body = msgspec.json.encode(ProgressReport(steps)) if steps is not None else b""
        return msgspec.json.decode(self._of(job, "progress", body), type=HeartbeatReply)

    def log(self, job: Job, offset: int, content: bytes) -> HeartbeatReply:
        """Add a piece of log that begins at ``offset``. Raises JobLost."""
        return msgspec.json.decode(self._of(job, f"log?offset={offset}", content), type=HeartbeatReply)

    def found(self, job: Job, found: CheckedOutCommit) -> tuple[str, ...]:
        """Say which commit it is; returns the Docker tags. Raises JobLost."""
        return msgspec.json.decode(self._of(job, "commit", msgspec.json.encode(found)), type=DockerTags).tags

    def push_token(self, job: Job, repositories: tuple[str, ...] = ()) -> str:
        """Return a token for the build's repository, which also reads what its owner may of ``repositories``."""
        return msgspec.json.decode(self._of(job, "token", msgspec.json.encode(repositories)), type=PushToken).token

    def sign(self, job: Job, payload: bytes) -> bytes:
        """Return the DSSE envelope with the hub's signature around a statement."""
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
    """Return the policy for requests to the hub: a restart of the hub, up to about a minute, is waited for."""
    return RetryPolicy(attempts=12, first_delay=0.2, max_delay=10)


def _good(answer: HTTPResponse, what: str) -> HTTPResponse:
    if answer.status in GONE:
        raise JobLost("another worker has this build, or it has finished")
    if answer.status not in (200, 204):
        said = answer.body[:300].decode(errors="replace")
        raise RegistryError(f"the hub answered {answer.status} to {what}: {said}", status=answer.status)
    return answer
