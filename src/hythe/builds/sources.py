"""Where code comes from, as one value: linked accounts, webhooks with their deliveries, commit statuses."""

import asyncio
from dataclasses import dataclass

from hythe.builds.forge_deliveries import ForgeDeliveries
from hythe.builds.forge_hooks import ForgeHooks
from hythe.builds.forge_statuses import StatusSender
from hythe.builds.forges.known import KnownForges
from hythe.builds.links import Links
from hythe.builds.service import Builds
from hythe.hub.service import Identity


@dataclass(frozen=True, slots=True)
class Sources:
    """Every service that speaks with forges."""

    forges: KnownForges
    links: Links
    hooks: ForgeHooks
    deliveries: ForgeDeliveries
    statuses: StatusSender

    async def run(self) -> None:
        """Send statuses and clean up, for ever."""
        await asyncio.gather(self.statuses.run(), self.hooks.run())


def make_sources(identity: Identity, builds: Builds, forges: KnownForges) -> Sources:
    """Return the services; ``builds`` must have been made with a ``StatusOutbox`` among its listeners."""
    database, clock = identity.database, identity.clock
    links = Links(database, identity.access, builds.vault, forges, clock)
    return Sources(
        forges=forges,
        links=links,
        hooks=ForgeHooks(database, builds.vault, links, builds.setups, clock, identity.settings.public_url),
        deliveries=ForgeDeliveries(database, builds.vault, builds.builds, builds.queue, clock),
        statuses=StatusSender(database, links, clock),
    )
