"""Events of accounts. ``server/hub.py`` wires the list of listeners, which other parts of the hub implement."""

from hythe.database import Session
from hythe.hub.user import User


class AccountListener:
    """Listens to accounts. Override what you need: the methods do nothing here."""

    async def account_blocked(self, session: Session, user: User) -> None:
        """An account is being blocked, in this transaction: stop what it started."""

    async def account_deleting(self, user: User) -> tuple[str, ...]:
        """A blocked account is about to be deleted with its repositories, outside of any transaction.

        Remove what it has in other places, and return what could not be removed there, for the administrator.
        """
        return ()
