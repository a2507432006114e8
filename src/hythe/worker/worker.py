"""The worker's loop: one thread for each concurrent build, which claims builds and supervises their processes."""

import socket
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from urllib.parse import urlsplit

import msgspec

from hythe.client.client import Client
from hythe.client.connection import ConnectionPool
from hythe.client.errors import ClientError
from hythe.client.platforms import host_platform
from hythe.client.retry import Retries
from hythe.telemetry.tracing import tracing
from hythe.worker.build_disks import delete_unneeded
from hythe.worker.build_process import BuildForkServer, BuildProcess
from hythe.worker.errors import JobLost
from hythe.worker.hub_api import HubAPI, retry_policy
from hythe.worker.isolation.kept_disks import KeptDisks
from hythe.worker.isolation.selection import Isolation
from hythe.worker.leftovers import remove_leftovers
from hythe.worker.protocol import MAX_CONCURRENCY, Claim, Job
from hythe.worker.supervisor import Supervisor

RETRY_DELAY = 2.0
"""Seconds before a worker claims again after the request failed."""
STOP_TIMEOUT = 15.0
"""Seconds that running builds have to end when the worker stops."""
DISKS_INTERVAL = 300.0
"""Seconds between two checks for kept disks that no build uses any more."""


class Worker:
    """Claims builds and runs them until it is stopped."""

    def __init__(
        self, url: str, token: str, isolation: Isolation, report: Callable[[str], None], *, concurrency: int = 1
    ) -> None:
        """Run up to ``concurrency`` builds at once; ``report`` gets a line about the start and end of each."""
        self._url = url
        self._token = token
        self._isolation = isolation
        self._report = report
        self._concurrency = concurrency
        self._stopped = threading.Event()
        self._supervisors: set[Supervisor] = set()
        self._fork_server = BuildForkServer()
        self._disks_due = 0.0
        self._claim = _claim_of(isolation, concurrency)
        parts = urlsplit(url)
        self._client = Client(plain_http=(parts.netloc,) if parts.scheme == "http" else ())
        self._polls = ConnectionPool(self._client.connections.tls_options)
        """Connections that wait for builds, apart from the others so that ``stop`` can close them."""

    def run(self) -> None:
        """Work until ``stop``; running builds are then abandoned, and other workers run them again."""
        remove_leftovers(self._isolation.folder)
        threads = [threading.Thread(target=self._loop, daemon=True) for _ in range(self._concurrency)]
        for thread in threads:
            thread.start()
        self._stopped.wait()
        deadline = time.monotonic() + STOP_TIMEOUT
        for thread in threads:
            # Repeatedly: the pool resends a request that was on a reused connection, and a claim may just succeed.
            while thread.is_alive() and time.monotonic() < deadline:
                for supervisor in list(self._supervisors):
                    supervisor.abandon()
                self._polls.close()
                thread.join(0.1)
        self._client.close()

    def stop(self) -> None:
        """Stop claiming. Safe to call from a signal handler."""
        self._stopped.set()

    def _loop(self) -> None:
        retries = Retries(retry_policy(), self._stopped)
        polling = HubAPI(self._url, self._token, self._polls, retries)
        hub = HubAPI(self._url, self._token, self._client.connections, retries)
        # Started before the claim: a worker that cannot start processes leaves the builds to others.
        process = self._start_process()
        while process and not self._stopped.is_set():
            self._delete_unneeded_disks(hub)
            try:
                job = polling.claim(self._claim)
            except (ClientError, JobLost) as error:
                # After the pause: a server that stops ends its worker, too, which has nothing to report then.
                if not self._stopped.wait(RETRY_DELAY):
                    self._report(f"cannot claim a build: {error}")
                continue
            if job is None or self._stopped.is_set():
                continue
            if not process.is_running:
                process.close()
                process = self._start_process()
            if process:
                self._run_job(self._with_addresses(job), hub, process)
                process = self._start_process()
        if process:
            process.close()

    def _delete_unneeded_disks(self, hub: HubAPI) -> None:
        """From time to time, delete kept disks that no build uses any more."""
        if not self._isolation.images or time.monotonic() < self._disks_due:
            return
        try:
            delete_unneeded(KeptDisks.of(self._isolation.folder), hub)
        except (ClientError, JobLost, OSError) as error:
            self._report(f"cannot delete unneeded disks: {error}")
            return
        self._disks_due = time.monotonic() + DISKS_INTERVAL

    def _start_process(self) -> BuildProcess | None:
        """Return a process for the next build; None if the worker is stopped."""
        while not self._stopped.is_set():
            try:
                return self._fork_server.fork()
            except OSError as error:
                self._report(f"cannot start a process: {error}")
                self._stopped.wait(RETRY_DELAY)
        return None

    def _run_job(self, job: Job, hub: HubAPI, process: BuildProcess) -> None:
        name = f"build {job.number} of {job.repository}"
        if job.request_id:
            name += f" (request {job.request_id})"
        self._report(f"{name}: started")
        supervisor = Supervisor(job, hub, self._isolation, process)
        self._supervisors.add(supervisor)
        trace: dict[str, str | int] = {
            "hythe__repository": job.repository,
            "hythe__build": job.number,
            "hythe__request_id": job.request_id,
        }
        try:
            with process, tracing.span("build", "consumer", job.trace_parent, **trace):
                outcome = supervisor.run(self._token)
        except Exception as error:
            # No build may end the worker; the lease expires, and another attempt follows.
            self._report(f"{name}: the worker failed: {type(error).__name__}: {error}")
            return
        finally:
            self._supervisors.discard(supervisor)
        self._report(f"{name}: {outcome.status} {outcome.reason}".rstrip() if outcome else f"{name}: lost the lease")

    def _with_addresses(self, job: Job) -> Job:
        """Fill in the address of the hub as this worker reaches it, if the hub has no public URL."""
        parts = urlsplit(self._url)
        registry = job.registry or parts.netloc
        return msgspec.structs.replace(job, registry=registry, hub_url=job.hub_url or self._url.rstrip("/"))


def _claim_of(isolation: Isolation, concurrency: int) -> Claim:
    return Claim(
        f"{socket.gethostname()}:{isolation.folder}"[:100],
        version=version("hythe")[:50],
        platform=str(host_platform())[:60],
        builder=str(isolation.external or "buildah")[:300],
        isolation=str(isolation)[:500],
        concurrency=min(concurrency, MAX_CONCURRENCY),
    )
