"""The worker inside ``hythe serve``: a process of its own, so that no build ever holds up an answer.

It is started once there is something to build, and started anew when it ends; it ends with the server, as it reads the
pipe that the server holds.
"""

import asyncio
import contextlib
import os
import sys
import time

import structlog

from hythe.builds.service import BuildsServices
from hythe.database import DatabaseError
from hythe.server.http import Address, url_of
from hythe.settings import Settings

FIRST_LOOK = 5.0
PAUSE = 5.0
LONGEST_PAUSE = 300.0
LONG = 60.0
"""A worker that lived so many seconds was in order: the pauses after it are short again."""
_LOG = structlog.get_logger()


async def run_worker(builds: BuildsServices, url: str) -> None:
    """Keep a worker running for ever, from the first waiting build on; nothing where the settings want none."""
    settings = builds.settings
    if settings.builds_workers == 0:
        return
    pause = PAUSE
    while True:
        began = time.monotonic()
        try:
            await builds.queue.wait_for_work(FIRST_LOOK)
            began = time.monotonic()
            ended = f"exit code {await _run_once(builds, url)}"
        except (DatabaseError, OSError) as error:
            ended = str(error)
        if time.monotonic() - began > LONG:
            pause = PAUSE
        _LOG.warning("the worker for Trusted Builds ended", because=ended, again_in_seconds=pause)
        await asyncio.sleep(pause)
        pause = min(LONGEST_PAUSE, pause * 2)


async def _run_once(builds: BuildsServices, url: str) -> int:
    settings = builds.settings
    folder = settings.builds_folder or str(settings.data_folder / "builds")
    words = ["--url", url, "--together", str(settings.builds_workers), "--until-end-of-input"]
    words += ["--builds-folder", folder, "--builds-isolation", settings.builds_isolation]
    words += ["--builds-builder", settings.builds_builder, "--builds-buildkit-name", settings.builds_buildkit_name]
    words += ["--builds-buildkit-certificates", settings.builds_buildkit_certificates]
    words += ["--builds-first-uid", str(settings.builds_first_uid)]
    environment = {**os.environ, "HYTHE_WORKER_TOKEN": builds.worker_token}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hythe.cli.main", "worker", *words, stdin=asyncio.subprocess.PIPE, env=environment
    )
    try:
        return await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), 20)


def own_url(settings: Settings, address: Address) -> str:
    """Return where the worker beside us reaches us."""
    if settings.tls_cert and settings.public_url:
        return settings.public_url
    return url_of(settings, address)
