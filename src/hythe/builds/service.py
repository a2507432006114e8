"""Trusted Builds as one value: every service, wired to the hub's identity."""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from hythe.builds.base_image_watch import BaseImageWatch
from hythe.builds.builds import BuildService
from hythe.builds.configuration import Network
from hythe.builds.configurations import BuildConfigurationService
from hythe.builds.descriptions import DescriptionListener
from hythe.builds.events import BuildListener
from hythe.builds.queue import BuildQueue, QueuePolicy
from hythe.builds.registry_listener import BuildRegistryListener
from hythe.builds.scheduler import BuildScheduler
from hythe.builds.secret_box import SecretBox
from hythe.builds.workers import WorkerService
from hythe.hub.keys import SigningKeys
from hythe.hub.service import Identity
from hythe.notifications.webhooks import NoticeOutbox, Notices
from hythe.settings import Settings
from hythe.worker.protocol import Limits


@dataclass(frozen=True, slots=True)
class BuildsServices:
    """Every service of Trusted Builds; ``listener`` is what the registry listens to in the hub's stead."""

    settings: Settings
    configurations: BuildConfigurationService
    builds: BuildService
    workers: WorkerService
    queue: BuildQueue
    bases: BaseImageWatch
    clock: BuildScheduler
    notices: Notices
    secret_box: SecretBox
    keys: SigningKeys
    listener: BuildRegistryListener
    worker_token: str


async def _unknown(_url: str) -> str:
    return ""


def make_builds(
    identity: Identity,
    settings: Settings,
    listeners: Sequence[BuildListener] = (),
    default_branch: Callable[[str], Awaitable[str]] = _unknown,
) -> BuildsServices:
    """Return the services. Raises SecretBoxError, SettingsError, OSError.

    ``listeners`` are told of every build that changes; ``default_branch`` asks an address for its default branch.
    """
    database, access = identity.database, identity.access
    secret_box = SecretBox.open(settings.data_folder, settings.builds_key)
    outbox = NoticeOutbox(_hub_url(settings), mail=bool(settings.mail_server))
    heard: list[BuildListener] = [DescriptionListener(), outbox, *listeners]
    queue = BuildQueue(database, _queue_rules(settings), heard)
    builds = BuildService(database, access, secret_box, queue)
    bases = BaseImageWatch(database, builds)
    heard.append(bases)
    token = settings.worker_token or secrets.token_urlsafe(32)
    workers = WorkerService(
        database,
        access,
        secret_box,
        identity.keys,
        queue,
        identity.clock,
        token=token,
        limits=limits_of(settings),
        public_url=settings.public_url,
    )
    configurations = BuildConfigurationService(database, access, secret_box, queue, default_branch)
    grace = timedelta(seconds=settings.grace_period)
    return BuildsServices(
        settings=settings,
        configurations=configurations,
        notices=Notices(database, configurations, secret_box, settings),
        builds=builds,
        workers=workers,
        queue=queue,
        bases=bases,
        clock=BuildScheduler(database, builds, queue),
        secret_box=secret_box,
        keys=identity.keys,
        listener=BuildRegistryListener(identity.listener, queue, bases, grace),
        worker_token=token,
    )


def limits_of(settings: Settings) -> Limits:
    """Return what one build may use."""
    return Limits(
        processors=settings.builds_processors,
        memory=settings.builds_memory,
        processes=settings.builds_processes,
        disk=settings.builds_disk,
        files=settings.builds_files,
        seconds=settings.builds_timeout,
        log=settings.builds_log_size,
        network=Network(settings.builds_network),
    )


def _hub_url(settings: Settings) -> str:
    """Return where receivers of notices reach the hub, as far as the settings say it."""
    scheme = "https" if settings.tls_cert else "http"
    return settings.public_url or f"{scheme}://{settings.listen}"


def _queue_rules(settings: Settings) -> QueuePolicy:
    return QueuePolicy(
        lease=settings.builds_lease,
        per_account=settings.builds_per_account,
        supersede_running=settings.builds_supersede_running,
    )
