"""How builds react to accounts: those of a blocked account end."""

from hythe.builds.queue import BuildQueue
from hythe.database import Session
from hythe.hub.account_events import AccountListener
from hythe.hub.user import User


class BuildAccountListener(AccountListener):
    """Ends the builds of blocked accounts."""

    def __init__(self, queue: BuildQueue) -> None:
        self._queue = queue

    async def account_blocked(self, session: Session, user: User) -> None:
        """End every queued and running build; their workers lose their leases."""
        await self._queue.end_account(session, user.name, "an administrator")
