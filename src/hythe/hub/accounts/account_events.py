"""Events of accounts. ``server/hub.py`` wires the list of listeners, which other parts of the hub implement."""

import msgspec

from hythe.database import Session
from hythe.hub.accounts.user import User


class RepositoryMove(msgspec.Struct, frozen=True):
    """A repository that has another name now. ``elsewhere``: also another owner, whose account is ``owner_id``."""

    repository_id: int
    former: str
    present: str
    owner_id: int | None
    elsewhere: bool


class AccountListener:
    """Listens to accounts. Override what you need: the methods do nothing here."""

    async def account_blocked(self, session: Session, user: User) -> None:
        """An account is being blocked, in this transaction: stop what it started."""

    async def account_deleting(self, user_id: int, name: str) -> tuple[str, ...]:
        """An account was deleted, and its repositories are next; outside of any transaction, perhaps repeatedly.

        Remove what it has in other places, and return what could not be removed there, for the administrator.
        """
        return ()

    async def account_renamed(self, session: Session, former: str, present: str) -> None:
        """An account is being renamed, in this transaction: what will happen next has the new name."""

    async def follow_rename(self, session: Session, former: str, present: str) -> bool:
        """Rename a part of the records of the past; return whether there were any.

        Called in one short transaction after the other, until it returns False.
        """
        return False

    async def repository_moved(self, session: Session, move: RepositoryMove) -> None:
        """A repository is getting another name or owner, in this transaction."""
