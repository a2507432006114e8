"""Resolves former names: after an account or a repository was renamed, its old name keeps working.

Only names that do not exist are looked up, with one query, so existing ones cost nothing more.
"""

from hythe.database import Database, Session
from hythe.database.read_cache import ReadCache
from hythe.hub.accounts.namespaces import short_name
from hythe.hub.errors import Moved
from hythe.hub.sql import former_names as store
from hythe.hub.sql.former_names import Successor
from hythe.oci.errors import ErrorCode, WireError

CACHE_SIZE = 512 * 1024
"""Bytes of resolved names that stay cached until the next commit; each takes about ``ENTRY_SIZE``."""

ENTRY_SIZE = 400

_NONE = Successor("", None)


class FormerNames:
    """Resolves the former names of accounts and repositories."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cache: ReadCache[str, Successor] = ReadCache(database, CACHE_SIZE)

    async def successor(self, repository: str, session: Session | None = None) -> Successor | None:
        """Return what a canonical name of no repository refers to now; None if it is no former name, either."""
        namespace, _, name = repository.partition("/")
        if session is not None:
            return await store.successor(session, namespace, name)
        generation = self._cache.generation()
        found = self._cache.get(repository)
        if found is None:
            async with self._database.reading() as own:
                found = await store.successor(own, namespace, name) or _NONE
            self._cache.keep(generation, repository, found, ENTRY_SIZE)
        return None if found is _NONE else found


async def require_not_renamed(session: Session, name: str) -> None:
    """Raise Moved if an account had this name. Call it before saying that an account does not exist."""
    present = await store.account(session, name)
    if present is not None:
        raise Moved(name, present)


def push_refusal(former: str, present: str) -> WireError:
    """Return the error for a push to a former name, which engines print."""
    present = short_name(present)
    return WireError(ErrorCode.DENIED, f"{short_name(former)} is now {present}: push to {present}")


def reserved_refusal(name: str) -> str:
    """Explain why a former name cannot be used for another repository."""
    return f"{short_name(name)} is the former name of another repository: end its redirect first"
