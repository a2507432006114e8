"""Creates the services of replication."""

from dataclasses import dataclass

from hythe.database import Database
from hythe.egress.policy import EgressPolicy
from hythe.hub.service import HubFoundation
from hythe.registry.mirror.upstreams import Upstreams
from hythe.registry.policy import Policy
from hythe.registry.service import RegistryServices, make_registry
from hythe.registry.storage.port import BlobStore
from hythe.replication.follower import SiteFollower
from hythe.replication.registry_listener import ReplicationRegistryListener
from hythe.replication.remotes import RemoteRegistries
from hythe.replication.replications import ReplicationService
from hythe.replication.runner import ReplicationRunner


@dataclass(frozen=True, slots=True)
class ReplicationServices:
    """Every service of replication."""

    rules: ReplicationService
    runner: ReplicationRunner
    follower: SiteFollower | None


def make_replication_listener(foundation: HubFoundation) -> ReplicationRegistryListener:
    """Return the listener for the registry's list."""
    return ReplicationRegistryListener(foundation.clock)


def make_replication(
    foundation: HubFoundation, database: Database, registry: RegistryServices, storage: BlobStore, unbound: Database
) -> ReplicationServices:
    """Return the services; ``unbound`` is the database that also writes during maintenance. Raises SettingsError."""
    settings, clock = foundation.settings, foundation.clock
    egress = EgressPolicy.parse(settings.internal_networks)
    remotes = RemoteRegistries(foundation.secret_box, egress, Policy.of(settings), clock)
    return ReplicationServices(
        ReplicationService(database, foundation.access, foundation.secret_box, clock),
        ReplicationRunner(database, registry, remotes, clock),
        _follower(foundation, unbound, storage) if settings.follow else None,
    )


def _follower(foundation: HubFoundation, database: Database, storage: BlobStore) -> SiteFollower:
    """Return what writes although the site is read-only for everyone else."""
    settings, clock = foundation.settings, foundation.clock
    egress = EgressPolicy.parse(settings.internal_networks)
    registry = make_registry(database, storage, foundation.access, (foundation.listener,), settings, Upstreams(""))
    remotes = RemoteRegistries(foundation.secret_box, egress, Policy.of(settings), clock)
    runner = ReplicationRunner(database, registry, remotes, clock)
    return SiteFollower(database, registry, runner, foundation.secret_box, settings.follow, egress, clock)
