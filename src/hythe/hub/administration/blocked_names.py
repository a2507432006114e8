"""Names that no new account, organization or repository may take. What has such a name keeps it.

A pattern is matched against the name of an account, and against the name of a repository without its namespace.
Administrators can give blocked names to accounts that they create.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from hythe.database import Database, Session
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.actor import HubActor
from hythe.hub.errors import Invalid, NotFound, Refused
from hythe.hub.logs import audit
from hythe.hub.organizations.name_patterns import pattern_problem
from hythe.hub.sql import blocked_names as store
from hythe.hub.sql.blocked_names import BlockedName

MAX_PATTERN = 100
MAX_PATTERNS = 1000
"""All are compared with each new name."""


class NewBlockedName(msgspec.Struct, frozen=True):
    """Names to block: ``*`` stands for any text."""

    pattern: Annotated[str, Meta(max_length=MAX_PATTERN)]
    reason: Annotated[str, Meta(max_length=500)] = ""


class BlockedNames:
    """The blocked names. Every call raises SignInNeeded or Refused unless an administrator calls."""

    def __init__(self, database: Database, access: HubAccess, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._access = access
        self._clock = clock

    async def list(self, actor: HubActor) -> tuple[BlockedName, ...]:
        """Return all patterns."""
        await self._access.require_hub(actor, HubAction.VIEW_BLOCKED)
        async with self._database.reading() as session:
            return await store.listed(session)

    async def block(self, actor: HubActor, new: NewBlockedName) -> None:
        """Block names. Raises Invalid."""
        await self._access.require_hub(actor, HubAction.BLOCK_NAME)
        pattern = new.pattern.strip().lower()
        problem = pattern_problem(pattern)
        if len(pattern) > MAX_PATTERN or not pattern.isprintable() or "/" in pattern:
            problem = f"must have at most {MAX_PATTERN} printable characters, and no '/'"
        if problem is None and not pattern.strip("*"):
            problem = "must not match every name"
        if problem is not None:
            raise Invalid({"pattern": problem})
        async with self._database.writing() as session:
            if await store.count(session) >= MAX_PATTERNS:
                raise Refused(f"there are {MAX_PATTERNS} patterns already", "remove one, or join some with '*'")
            await store.put(session, pattern, _like(pattern), new.reason.strip()[:500], actor.name, self._clock())
            await audit.record(
                session, actor, HubAction.BLOCK_NAME, pattern, detail={"reason": new.reason}, at=self._clock()
            )

    async def unblock(self, actor: HubActor, pattern: str) -> None:
        """Remove a pattern. Raises NotFound."""
        await self._access.require_hub(actor, HubAction.UNBLOCK_NAME)
        async with self._database.writing() as session:
            if not await store.remove(session, pattern):
                raise NotFound(f"the pattern {pattern[:MAX_PATTERN]!r} is not blocked")
            await audit.record(session, actor, HubAction.UNBLOCK_NAME, pattern, at=self._clock())


async def require_name(session: Session, name: str, field: str = "name") -> None:
    """Raise Invalid if no account or repository may take this name. The message is that of reserved names."""
    if await store.is_blocked(session, name):
        raise Invalid({field: "is reserved; choose another name"})


async def require_repository_name(session: Session, name: str) -> None:
    """Raise Refused if no repository may take this name, which is that in its namespace."""
    if await store.is_blocked(session, name):
        raise Refused(f"the name {name} is reserved on this hub", "choose another name")


def _like(pattern: str) -> str:
    escaped = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%")
