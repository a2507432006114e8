"""The worker of ``hythe serve``, in its own process, so that builds do not delay responses.

The server starts it when a build is queued, or at once if there are disks that it may have to delete, and restarts it
when it ends. The worker stops with the server, because it reads a pipe that the server holds open.
"""

import asyncio
import contextlib
import os
import sys
import time
from pathlib import Path

import structlog

from hythe.builds.service import BuildsServices
from hythe.database import DatabaseError
from hythe.server.listening import Address, url_of
from hythe.settings import Settings
from hythe.worker.isolation.kept_disks import KeptDisks

QUEUE_POLL_INTERVAL = 5.0
RESTART_DELAY = 5.0
MAX_RESTART_DELAY = 300.0
HEALTHY_RUN_TIME = 60.0
"""Seconds after which the restart delay is reset."""
_LOG = structlog.get_logger()


class LocalWorker:
    """The worker of this server."""

    def __init__(self, builds: BuildsServices, url: str) -> None:
        """The worker reaches the server at ``url``."""
        self._builds = builds
        self._url = url
        self._process: asyncio.subprocess.Process | None = None
        self._stopped = False

    def stop(self) -> None:
        """Let the worker stop now, while the server still responds: later it could only report that it does not."""
        self._stopped = True
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()

    async def run(self) -> None:
        """Run the worker from when there is work on; return at once if the settings disable it."""
        settings = self._builds.settings
        if settings.builds_workers == 0:
            return
        delay = RESTART_DELAY
        while not self._stopped:
            started = time.monotonic()
            try:
                if not KeptDisks.of(builds_folder(settings)).keys():
                    await self._builds.queue.wait_for_work(QUEUE_POLL_INTERVAL)
                started = time.monotonic()
                ended = f"exit code {await self._run_once()}"
            except (DatabaseError, OSError) as error:
                ended = str(error)
            if self._stopped:
                return
            if time.monotonic() - started > HEALTHY_RUN_TIME:
                delay = RESTART_DELAY
            _LOG.warning("the build worker ended", reason=ended, restart_in_seconds=delay)
            await asyncio.sleep(delay)
            delay = min(MAX_RESTART_DELAY, delay * 2)

    async def _run_once(self) -> int:
        if self._stopped:
            return 0
        process = self._process = await _start(self._builds, self._url)
        try:
            return await process.wait()
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), 20)


async def _start(builds: BuildsServices, url: str) -> asyncio.subprocess.Process:
    settings = builds.settings
    arguments = ["--url", url, "--concurrency", str(settings.builds_workers), "--stop-on-eof"]
    arguments += ["--builds-folder", str(builds_folder(settings)), "--builds-isolation", settings.builds_isolation]
    arguments += ["--builds-builder", settings.builds_builder, "--builds-buildkit-name", settings.builds_buildkit_name]
    arguments += ["--builds-buildkit-certificates", settings.builds_buildkit_certificates]
    arguments += ["--builds-first-uid", str(settings.builds_first_uid), "--log-format", settings.log_format]
    secrets = {"HYTHE_WORKER_TOKEN": builds.worker_token, "HYTHE_OTLP_ENDPOINT": settings.otlp_endpoint}
    environment = {**os.environ, **secrets}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hythe.cli.main", "worker", *arguments, stdin=asyncio.subprocess.PIPE, env=environment
    )


def builds_folder(settings: Settings) -> Path:
    return Path(settings.builds_folder) if settings.builds_folder else settings.data_folder / "builds"


def own_url(settings: Settings, address: Address) -> str:
    """Return the URL at which the local worker reaches this hub."""
    if settings.tls_cert and settings.public_url:
        return settings.public_url
    return url_of(settings, address)
