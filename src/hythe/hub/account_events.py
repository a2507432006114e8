"""Events of accounts. ``server/hub.py`` wires the list of listeners, which other parts of the hub implement."""

from hythe.database import Session
from hythe.hub.user import User


class AccountListener:
    """Listens to accounts. Override what you need: the methods do nothing here."""

    async def account_blocked(self, session: Session, user: User) -> None:
        """An account is being blocked, in this transaction: stop what it started."""

    async def account_deleting(self, user_id: int, name: str) -> tuple[str, ...]:
        """An account was deleted, and its repositories are next; outside of any transaction, perhaps repeatedly.

        Remove what it has in other places, and return what could not be removed there, for the administrator.
        """
        return ()
