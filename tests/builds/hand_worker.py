"""A worker that a test drives: it claims builds and reports results, and builds nothing."""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass
from typing import Any

from tests.builds.forge_hub import NO_WORKER

TOKEN = "the-token-of-a-worker"
BY_HAND = {**NO_WORKER, "HYTHE_WORKER_TOKEN": TOKEN}
"""The settings of a hub whose builds a test carries out by hand."""


@dataclass(slots=True)
class HandWorker:
    """Speaks the worker protocol with one hub."""

    url: str
    name: str = "by hand"

    def claim(self, wait: int = 0) -> dict[str, Any] | None:
        """The next build as a job, None if there is none."""
        job: dict[str, Any] | None = self._post("claim", json.dumps({"worker": self.name, "wait": wait}).encode(), {})
        return job

    def finish(self, job: dict[str, Any], status: str = "succeeded", **more: Any) -> None:
        """End a build."""
        self.send(job, "finish", {"status": status, **more})

    def send(self, job: dict[str, Any], what: str, body: Any) -> Any:
        """Send a request about a claimed build."""
        return self._post(f"builds/{job['build_id']}/{what}", json.dumps(body).encode(), _lease(job))

    def log(self, job: dict[str, Any], offset: int, content: bytes) -> None:
        """Append to the log of a claimed build, which has ``offset`` bytes."""
        self._post(f"builds/{job['build_id']}/log?offset={offset}", content, _lease(job))

    def end_all(self, status: str = "succeeded", **more: Any) -> list[str]:
        """End every queued build; returns the names of their branches and tags."""
        ended = []
        while (job := self.claim()) is not None:
            self.finish(job, status, **more)
            ended.append(job["ref"]["name"])
        return ended

    def _post(self, path: str, content: bytes, headers: dict[str, str]) -> Any:
        request = urllib.request.Request(
            f"{self.url}/api/v1/workers/{path}",
            content,
            {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json", **headers},
            method="POST",
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            reply = response.read()
        return json.loads(reply) if reply else None


def _lease(job: dict[str, Any]) -> dict[str, str]:
    return {"Hythe-Build-Key": job["key"], "Hythe-Build-Fence": str(job["fence"])}
