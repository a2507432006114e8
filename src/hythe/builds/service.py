"""Creates the services of Trusted Builds."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from hythe.builds.builds import BuildService
from hythe.builds.configurations import BuildConfigurationService
from hythe.builds.events import BuildListener
from hythe.builds.queue import BuildQueue, QueuePolicy
from hythe.builds.queue_administration import QueueAdministration
from hythe.builds.registry_listener import BuildRegistryListener
from hythe.builds.triggers.base_image_watch import BaseImageWatch
from hythe.builds.triggers.scheduler import BuildScheduler
from hythe.builds.worker_administration import WorkerAdministration
from hythe.builds.workers import WorkerService
from hythe.forges.configured import forge_hosts
from hythe.hub.secret_box import SecretBox
from hythe.hub.service import HubFoundation
from hythe.hub.tokens.keys import SigningKeys
from hythe.settings import Settings
from hythe.worker.protocol import BuildLimits, Network


@dataclass(frozen=True, slots=True)
class BuildsServices:
    """Every service of Trusted Builds."""

    settings: Settings
    configurations: BuildConfigurationService
    builds: BuildService
    workers: WorkerService
    queue: BuildQueue
    worker_administration: WorkerAdministration
    queue_administration: QueueAdministration
    base_image_watch: BaseImageWatch
    scheduler: BuildScheduler
    secret_box: SecretBox
    keys: SigningKeys
    registry_listener: BuildRegistryListener
    worker_token: str

    def apply(self, settings: Settings) -> None:
        """Take over changed limits."""
        self.workers.apply(limits_of(settings))
        self.queue.apply(_queue_policy(settings))
        self.registry_listener.apply(timedelta(seconds=settings.grace_period))


async def _no_default_branch(_url: str) -> str:
    return ""


def make_builds(
    foundation: HubFoundation,
    settings: Settings,
    listeners: Sequence[BuildListener] = (),
    default_branch: Callable[[str], Awaitable[str]] = _no_default_branch,
) -> BuildsServices:
    """Return the services.

    Items added to ``listeners`` later are called, too. ``default_branch`` returns the default branch of a URL, or "".
    """
    database, access = foundation.database, foundation.access
    secret_box = foundation.secret_box
    queue = BuildQueue(database, _queue_policy(settings), listeners)
    builds = BuildService(database, access, secret_box, queue)
    base_image_watch = BaseImageWatch(database, builds)
    # With TLS, the worker inside "hythe serve" may reach another server of the installation at public_url.
    token = settings.worker_token or secret_box.derive("worker token")
    worker_administration = WorkerAdministration(database, access, queue, foundation.clock)
    workers = WorkerService(
        database,
        access,
        secret_box,
        foundation.keys,
        queue,
        worker_administration,
        foundation.clock,
        token=token,
        limits=limits_of(settings),
        public_url=settings.public_url,
    )
    grace = timedelta(seconds=settings.grace_period)
    return BuildsServices(
        settings=settings,
        configurations=BuildConfigurationService(database, access, secret_box, queue, default_branch, listeners),
        builds=builds,
        workers=workers,
        queue=queue,
        worker_administration=worker_administration,
        queue_administration=QueueAdministration(database, access, queue, worker_administration, foundation.clock),
        base_image_watch=base_image_watch,
        scheduler=BuildScheduler(database, builds, queue),
        secret_box=secret_box,
        keys=foundation.keys,
        registry_listener=BuildRegistryListener(queue, base_image_watch, grace),
        worker_token=token,
    )


def limits_of(settings: Settings) -> BuildLimits:
    """Return the resource limits of one build."""
    return BuildLimits(
        processors=settings.builds_processors,
        memory=settings.builds_memory,
        processes=settings.builds_processes,
        disk=settings.builds_disk,
        kept_disks=settings.builds_kept_disks,
        files=settings.builds_files,
        seconds=settings.builds_timeout,
        log=settings.builds_log_size,
        transfer_rate=settings.builds_transfer_rate,
        network=Network(settings.builds_network),
        internal_networks=settings.internal_networks,
        source_hosts=forge_hosts(settings.forges),
    )


def _queue_policy(settings: Settings) -> QueuePolicy:
    return QueuePolicy(
        lease=settings.builds_lease,
        per_account=settings.builds_per_account,
        supersede_running=settings.builds_supersede_running,
    )
