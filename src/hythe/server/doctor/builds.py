"""Examines what Trusted Builds need: isolation and builder of this machine, and the workers that the hub knows."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from importlib.metadata import version
from pathlib import Path

from hythe.builds.service import BuildsServices
from hythe.hub.actor import HubActor
from hythe.server.doctor.diagnosis import Diagnosis, good, problem, warning
from hythe.server.worker import builds_folder
from hythe.settings import Settings
from hythe.worker.builders.selection import version_of
from hythe.worker.errors import BuildFailed, IsolationUnavailable
from hythe.worker.isolation.selection import ExternalBuilder, choose_isolation

SUBJECT = "builds"

_HOST = "docs/builds.md lists what builds need from their host; builds_workers = 0 runs none here"


async def examine_builder(settings: Settings) -> AsyncIterator[Diagnosis]:
    """Yield whether this machine can build; nothing if it should not."""
    if settings.builds_workers == 0:
        return
    external = ExternalBuilder.of(
        settings.builds_builder, settings.builds_buildkit_certificates, settings.builds_buildkit_name
    )
    for finding in await asyncio.to_thread(lambda: [*_builder(external), *_isolation(settings)]):
        yield finding


def _builder(external: ExternalBuilder | None) -> Iterator[Diagnosis]:
    try:
        if external is not None:
            yield good(SUBJECT, f"builder: {version_of(external)}")
        elif shutil.which("buildah") is None:
            yield problem(SUBJECT, "buildah is not installed", "apt-get install buildah")
        else:
            done = subprocess.run(["buildah", "--version"], capture_output=True, text=True, timeout=20, check=True)
            yield good(SUBJECT, f"builder: {done.stdout.strip()}")
    except (BuildFailed, OSError, subprocess.SubprocessError) as error:
        yield problem(SUBJECT, f"the builder does not respond: {error}", "check builds_builder, and start the builder")


def _isolation(settings: Settings) -> Iterator[Diagnosis]:
    folder: Path = builds_folder(settings)
    try:
        isolation = choose_isolation(folder, settings.builds_first_uid, weaker=settings.builds_isolation == "weaker")
    except (IsolationUnavailable, OSError) as error:
        yield problem(SUBJECT, str(error), _HOST)
        return
    yield good(SUBJECT, f"isolation: {isolation}")
    for missing in isolation.missing:
        yield warning(SUBJECT, missing, _HOST)


async def examine_workers(settings: Settings, builds: BuildsServices) -> AsyncIterator[Diagnosis]:
    """Yield whether workers are connected, and have the version of this program."""
    ours = version("hythe")
    workers = [worker for worker in await builds.worker_administration.list(HubActor.operator()) if worker.connected]
    for worker in workers:
        if worker.version != ours:
            yield warning(
                "workers",
                f"{worker.name} has version {worker.version or 'unknown'}, the hub {ours}",
                f"'hythe admin drain-worker {worker.name}' lets it finish its builds; then upgrade it",
            )
        elif worker.draining:
            yield warning("workers", f"{worker.name} is draining and takes no builds", "restart it, or remove it")
    if workers:
        yield good("workers", f"{len(workers)} connected")
    elif settings.builds_workers == 0:
        yield warning(
            "workers",
            "none is connected, and builds_workers is 0, so builds wait",
            "start 'hythe worker --url ..' with the hub's worker_token",
        )
