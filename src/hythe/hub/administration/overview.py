"""The hub in numbers, for administrators."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial

import msgspec

from hythe.database import Database, QueryTimeout, Session
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.actor import HubActor
from hythe.hub.sql import overview as store

SECONDS = 4.0
"""Time limit of each of three counts, one after the other: all accounts and all namespaces are counted."""


class HubOverview(msgspec.Struct, frozen=True, kw_only=True):
    """What the hub has. ``bytes``: a blob in several namespaces counts in each. ``waiting_mail``: not sent yet.

    Null: not known, because counting took too long.
    """

    users: int | None
    organizations: int | None
    blocked: int | None
    repositories: int | None
    taken_down: int | None
    bytes: int | None
    open_reports: int | None
    waiting_mail: int | None


class OverviewService:
    """Counts what the hub has."""

    def __init__(self, database: Database, access: HubAccess, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._access = access
        self._clock = clock

    async def get(self, actor: HubActor) -> HubOverview:
        """Return the numbers; None in place of those that take too long to count. Raises SignInNeeded, Refused."""
        await self._access.require_hub(actor, HubAction.VIEW_OVERVIEW)
        known: dict[str, int | None] = dict.fromkeys(HubOverview.__struct_fields__)
        for count in (partial(store.waiting, now=self._clock()), store.stored, store.accounts):
            known |= await self._in_time(count)
        return HubOverview(**known)

    async def _in_time(self, count: Callable[[Session], Awaitable[msgspec.Struct]]) -> dict[str, int]:
        """Return what ``count`` finds; nothing if it takes longer than SECONDS, which ends the session."""
        try:
            async with self._database.reading_long(SECONDS) as session:
                return msgspec.structs.asdict(await count(session))
        except QueryTimeout:
            return {}
