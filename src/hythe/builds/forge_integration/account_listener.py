"""How linked accounts react to accounts: a deleted account leaves nothing at forges."""

from hythe.builds.forge_integration.forge_webhooks import ForgeWebhookService
from hythe.builds.forge_integration.linked_accounts import LinkedAccountService
from hythe.hub.accounts.account_events import AccountListener
from hythe.hub.actor import HubActor
from hythe.hub.errors import HubError


class ForgeAccountListener(AccountListener):
    """Unlinks the accounts of a deleted account."""

    def __init__(self, linked_accounts: LinkedAccountService, webhooks: ForgeWebhookService) -> None:
        self._linked_accounts = linked_accounts
        self._webhooks = webhooks

    async def account_deleting(self, user_id: int, name: str) -> tuple[str, ...]:
        """Remove webhooks, deploy keys and tokens at forges, on behalf of the user; return what remains there."""
        owner = HubActor(name, user_id=user_id)
        remaining: list[str] = []
        for account in await self._linked_accounts.list_own(owner):
            try:
                remaining += (await self._webhooks.unlink(owner, account.id)).remaining
            except HubError as error:
                remaining.append(f"the linked account {account.login} at {account.url}: {error}")
        return tuple(remaining)
