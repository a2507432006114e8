"""Creates the services that communicate with forges."""

import asyncio
from dataclasses import dataclass

from hythe.builds.forge_integration.forge_deliveries import ForgeDeliveryService
from hythe.builds.forge_integration.forge_statuses import CommitStatusSender
from hythe.builds.forge_integration.forge_webhooks import ForgeWebhookService
from hythe.builds.forge_integration.linked_accounts import LinkedAccountService
from hythe.builds.service import BuildsServices
from hythe.forges.configured import ConfiguredForges
from hythe.hub.service import HubFoundation


@dataclass(frozen=True, slots=True)
class ForgeServices:
    """Every service that communicates with forges."""

    linked_accounts: LinkedAccountService
    webhooks: ForgeWebhookService
    deliveries: ForgeDeliveryService
    statuses: CommitStatusSender

    async def run(self) -> None:
        """Send commit statuses and remove orphaned webhooks, until cancelled."""
        await asyncio.gather(self.statuses.run(), self.webhooks.run())


def make_forge_services(foundation: HubFoundation, builds: BuildsServices, forges: ConfiguredForges) -> ForgeServices:
    """Return the services. The listeners of ``builds`` must include a ``CommitStatusListener``."""
    database, clock, secret_box = foundation.database, foundation.clock, builds.secret_box
    linked_accounts = LinkedAccountService(database, foundation.access, secret_box, forges, clock)
    return ForgeServices(
        linked_accounts=linked_accounts,
        webhooks=ForgeWebhookService(
            database, secret_box, linked_accounts, builds.configurations, clock, foundation.settings.public_url
        ),
        deliveries=ForgeDeliveryService(database, secret_box, builds.builds, builds.queue, clock),
        statuses=CommitStatusSender(database, linked_accounts, clock),
    )
