"""Administrators read repositories of others: for an hour, with an entry in the audit log that the owners see."""

from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from hythe.database import Database, Session
from hythe.hub.access.access_context import AccessContext
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.accounts.namespaces import canonical_name, could_be_name, short_name
from hythe.hub.actor import HubActor
from hythe.hub.errors import Invalid, NotFound, Refused
from hythe.hub.logs import audit
from hythe.hub.sign_in.confirmations import ConfirmationService
from hythe.hub.sql import administrator_access as store
from hythe.hub.sql import users as user_store

LIFETIME = timedelta(hours=1)

MAX_OPENING_REASON = 500


class OpenedRepository(msgspec.Struct, frozen=True):
    """A repository that an administrator may read ``until`` then."""

    repository: str
    until: datetime


class AdministratorAccess:
    """Opens repositories for administrators. Every call raises SignInNeeded or Refused unless one calls."""

    def __init__(
        self,
        database: Database,
        access: HubAccess,
        confirmations: ConfirmationService,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._access = access
        self._confirmations = confirmations
        self._clock = clock

    async def open(
        self, actor: HubActor, repository: str, reason: str = "", *, administrator: str = ""
    ) -> OpenedRepository:
        """Give the administrator the role ``read`` for LIFETIME.

        The operator, who has no account, gives it to the account ``administrator``. Raises NotFound, Invalid, Refused,
        ConfirmationNeeded.
        """
        await self._confirmations.require_on_hub(actor, HubAction.OPEN_REPOSITORY)
        reason = " ".join(reason.split())
        if len(reason) > MAX_OPENING_REASON:
            raise Invalid({"reason": f"must have at most {MAX_OPENING_REASON} characters"})
        full_name = canonical_name(repository)
        until = self._clock() + LIFETIME
        async with self._database.writing() as session:
            context = await existing(self._access, session, full_name)
            reader_id = actor.user_id or await _administrator_id(session, actor, administrator)
            await store.put(session, reader_id, context.repository_id or 0, until)
            detail = {"administrator": administrator} if administrator else {}
            await audit.record_repository(
                session,
                actor,
                HubAction.OPEN_REPOSITORY,
                full_name,
                until=until.isoformat(),
                reason=reason,
                at=self._clock(),
                **detail,
            )
        return OpenedRepository(short_name(full_name), until)

    async def close(self, actor: HubActor, repository: str) -> None:
        """End the access early. Raises NotFound."""
        await self._access.require_hub(actor, HubAction.OPEN_REPOSITORY)
        full_name = canonical_name(repository)
        async with self._database.writing() as session:
            context = await existing(self._access, session, full_name)
            if actor.user_id is None or not await store.remove(session, actor.user_id, context.repository_id or 0):
                return
            action, now = HubAction.OPEN_REPOSITORY, self._clock()
            await audit.record_repository(session, actor, action, full_name, at=now, until=now.isoformat())


async def _administrator_id(session: Session, actor: HubActor, name: str) -> int:
    user = await user_store.by_name(session, name) if actor.operating and could_be_name(name) else None
    if user is None or not user.admin or user.blocked:
        raise Refused(f"{name!r} is no administrator", "'hythe admin users' shows who is one")
    return user.id


async def existing(access: HubAccess, session: Session, repository: str) -> AccessContext:
    """Return the context of any repository, for administrators. Raises NotFound."""
    context = await access.context(HubActor.operator(), repository, session)
    if context.repository_id is None:
        raise NotFound(f"repository {short_name(repository)!r} does not exist")
    return context
