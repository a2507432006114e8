"""The worker's loop: a thread for each build that it may carry out at once, each claiming for itself."""

import contextlib
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from hythe.builds.errors import LeaseLost
from hythe.client.client import Client
from hythe.client.errors import ClientError
from hythe.client.retry import Retries
from hythe.worker.attempt import Attempt
from hythe.worker.hub_api import HubLink, patience
from hythe.worker.isolation.cgroup import remove_groups
from hythe.worker.isolation.selection import Isolation
from hythe.worker.protocol import Claim, Job

PAUSE = 2.0
"""Seconds before a worker asks again after the hub did not answer."""


class Worker:
    """Claims builds and carries them out until told to stop."""

    def __init__(
        self, url: str, token: str, isolation: Isolation, say: Callable[[str], None], *, together: int = 1
    ) -> None:
        """Carry out up to ``together`` builds at once; ``say`` gets a line about each."""
        self._url = url
        self._token = token
        self._isolation = isolation
        self._say = say
        self._together = together
        self._stopped = threading.Event()
        self._attempts: set[Attempt] = set()
        self._name = f"{socket.gethostname()}:{isolation.folder}"[:100]
        parts = urlsplit(url)
        self._client = Client(plain_http=(parts.netloc,) if parts.scheme == "http" else ())

    def run(self) -> None:
        """Work until ``stop``; builds under way are ended then and start anew elsewhere."""
        clean(self._isolation.folder)
        threads = [threading.Thread(target=self._loop, daemon=True) for _ in range(self._together)]
        for thread in threads:
            thread.start()
        self._stopped.wait()
        for attempt in list(self._attempts):
            attempt.abandon()
        for thread in threads:
            thread.join(15)
        self._client.close()

    def stop(self) -> None:
        """Stop claiming. Safe from a signal handler."""
        self._stopped.set()

    def _loop(self) -> None:
        link = HubLink(self._url, self._token, self._client.connections, Retries(patience(), self._stopped))
        while not self._stopped.is_set():
            try:
                job = link.claim(Claim(self._name))
            except (ClientError, LeaseLost) as error:
                self._say(f"the hub does not answer: {error}")
                self._stopped.wait(PAUSE)
                continue
            if job is not None:
                self._carry_out(self._addressed(job), link)

    def _carry_out(self, job: Job, link: HubLink) -> None:
        what = f"build {job.number} of {job.repository}"
        self._say(f"{what}: begun")
        attempt = Attempt(job, link, self._client, self._isolation)
        self._attempts.add(attempt)
        try:
            outcome = attempt.run()
        except Exception as error:
            # Nothing that a build does may end the worker; the lease runs out, and the build is tried again.
            self._say(f"{what}: the worker failed: {type(error).__name__}: {error}")
            return
        finally:
            self._attempts.discard(attempt)
        self._say(f"{what}: {outcome.status} {outcome.reason}".rstrip() if outcome else f"{what}: lost")

    def _addressed(self, job: Job) -> Job:
        """Name the hub as we reach it, where it does not say how others do."""
        parts = urlsplit(self._url)
        registry = job.registry or parts.netloc
        return msgspec.structs.replace(job, registry=registry, hub_url=job.hub_url or self._url.rstrip("/"))


def clean(folder: Path) -> None:
    """Remove what a worker that was killed left in ``folder``: mounts, work folders, control groups."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    points = [line.split()[1].replace("\\040", " ") for line in lines]
    for point in sorted((point for point in points if point.startswith(f"{folder}/")), key=len, reverse=True):
        with contextlib.suppress(OSError):
            subprocess.run(["umount", "--lazy", point], capture_output=True, check=False)
    names = [path.name for path in (folder / "work").iterdir()] if (folder / "work").exists() else []
    remove_groups(folder, names)
    shutil.rmtree(folder / "work", ignore_errors=True)
    (folder / "work").mkdir(parents=True, exist_ok=True)
