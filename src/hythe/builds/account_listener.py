"""How builds react to accounts: those of a blocked account end, and those of a renamed one follow."""

from hythe.builds.queue import BuildQueue
from hythe.builds.sql import renames
from hythe.database import Session
from hythe.hub.accounts.account_events import AccountListener, RepositoryMove
from hythe.hub.accounts.user import User


class BuildAccountListener(AccountListener):
    """Ends the builds of blocked accounts, and lets builds follow new names and owners."""

    def __init__(self, queue: BuildQueue) -> None:
        self._queue = queue

    async def account_blocked(self, session: Session, user: User) -> None:
        """End every queued and running build; their workers lose their leases."""
        await self._queue.end_account(session, user.name, "an administrator")

    async def account_renamed(self, session: Session, former: str, present: str) -> None:
        """See AccountListener."""
        await renames.rename_account(session, former, present)

    async def follow_rename(self, session: Session, former: str, present: str) -> bool:
        """See AccountListener."""
        return await renames.rename_finished(session, former, present)

    async def repository_moved(self, session: Session, move: RepositoryMove) -> None:
        """See AccountListener."""
        if move.elsewhere:
            await renames.move(session, move)
