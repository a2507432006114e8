"""Creates the services of replication."""

from dataclasses import dataclass

from hythe.database import Database
from hythe.egress.policy import EgressPolicy
from hythe.hub.service import HubFoundation
from hythe.registry.policy import Policy
from hythe.registry.service import RegistryServices
from hythe.replication.registry_listener import ReplicationRegistryListener
from hythe.replication.remotes import RemoteRegistries
from hythe.replication.replications import ReplicationService
from hythe.replication.runner import ReplicationRunner


@dataclass(frozen=True, slots=True)
class ReplicationServices:
    """Every service of replication."""

    rules: ReplicationService
    runner: ReplicationRunner


def make_replication_listener(foundation: HubFoundation) -> ReplicationRegistryListener:
    """Return the listener for the registry's list."""
    return ReplicationRegistryListener(foundation.clock)


def make_replication(foundation: HubFoundation, database: Database, registry: RegistryServices) -> ReplicationServices:
    """Return the services. Raises SettingsError."""
    settings, clock = foundation.settings, foundation.clock
    egress = EgressPolicy.parse(settings.internal_networks)
    remotes = RemoteRegistries(foundation.secret_box, egress, Policy.of(settings), clock)
    return ReplicationServices(
        ReplicationService(database, foundation.access, foundation.secret_box, clock),
        ReplicationRunner(database, registry, remotes, clock),
    )
