"""Where code comes from, as one value: linked accounts, webhooks with their deliveries, commit statuses."""

import asyncio
from dataclasses import dataclass

from hythe.builds.forge_deliveries import ForgeDeliveries
from hythe.builds.forge_statuses import StatusSender
from hythe.builds.forge_webhooks import ForgeWebhooks
from hythe.builds.linked_accounts import LinkedAccounts
from hythe.builds.service import BuildsServices
from hythe.forges.known import KnownForges
from hythe.hub.service import HubFoundation


@dataclass(frozen=True, slots=True)
class Sources:
    """Every service that speaks with forges."""

    forges: KnownForges
    links: LinkedAccounts
    hooks: ForgeWebhooks
    deliveries: ForgeDeliveries
    statuses: StatusSender

    async def run(self) -> None:
        """Send statuses and clean up, for ever."""
        await asyncio.gather(self.statuses.run(), self.hooks.run())


def make_sources(identity: HubFoundation, builds: BuildsServices, forges: KnownForges) -> Sources:
    """Return the services; ``builds`` must have been made with a ``StatusOutbox`` among its listeners."""
    database, clock = identity.database, identity.clock
    links = LinkedAccounts(database, identity.access, builds.secret_box, forges, clock)
    return Sources(
        forges=forges,
        links=links,
        hooks=ForgeWebhooks(
            database, builds.secret_box, links, builds.configurations, clock, identity.settings.public_url
        ),
        deliveries=ForgeDeliveries(database, builds.secret_box, builds.builds, builds.queue, clock),
        statuses=StatusSender(database, links, clock),
    )
