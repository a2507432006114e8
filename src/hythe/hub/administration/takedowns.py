"""What administrators do to repositories of others: take down, restore, delete, hand over and mark as official.

A repository that is taken down keeps its content. Its owners see it with the reason, but cannot use it; for everyone
else it looks as if it did not exist.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from hythe.database import Database, Session
from hythe.hub.access.access_context import AccessContext
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.accounts.namespaces import canonical_name, short_name
from hythe.hub.actor import HubActor
from hythe.hub.administration.administrator_access import existing
from hythe.hub.errors import Invalid, Refused
from hythe.hub.logs import audit
from hythe.hub.page import Page, Paging
from hythe.hub.renaming.transfers import NewTransfer, RepositoryTransfer, TransferService
from hythe.hub.sign_in.confirmations import ConfirmationService
from hythe.hub.sql import renames as rename_store
from hythe.hub.sql import takedowns as store
from hythe.hub.sql.takedowns import TakenDown
from hythe.registry.repositories import Repositories as RegistryRepositories

MAX_REASON = 500


class TakedownReason(msgspec.Struct, frozen=True):
    """Why a repository is taken down, or deleted; its owners read it."""

    reason: Annotated[str, Meta(max_length=MAX_REASON)]

    def checked(self) -> str:
        """Return the reason on one line. Raises Invalid."""
        reason = " ".join(self.reason.split())
        if not 1 <= len(reason) <= MAX_REASON:
            raise Invalid({"reason": f"must have 1 to {MAX_REASON} characters: the owners read it"})
        return reason


class TakedownService:
    """Takes down repositories, and more. Every call raises SignInNeeded or Refused unless an administrator calls."""

    def __init__(
        self,
        database: Database,
        access: HubAccess,
        registry: RegistryRepositories,
        transfers: TransferService,
        confirmations: ConfirmationService,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._access = access
        self._registry = registry
        self._transfers = transfers
        self._confirmations = confirmations
        self._clock = clock

    async def list(self, actor: HubActor, paging: Paging) -> Page[TakenDown]:
        """Return the repositories that are taken down, the last one first."""
        await self._access.require_hub(actor, HubAction.VIEW_TAKEN_DOWN)
        async with self._database.reading() as session:
            return await store.listed(session, paging)

    async def take_down(self, actor: HubActor, repository: str, reason: TakedownReason) -> None:
        """Take a repository down. Raises NotFound, Invalid, Refused."""
        async with self._database.writing() as session:
            await self.take_down_in(session, actor, repository, reason)

    async def take_down_in(self, session: Session, actor: HubActor, repository: str, reason: TakedownReason) -> None:
        """Take a repository down in the caller's transaction. Raises NotFound, Invalid, Refused."""
        context = await self._found(session, actor, repository, HubAction.TAKE_DOWN_REPOSITORY)
        why = reason.checked()
        repository_id = context.repository_id or 0
        if not await store.take_down(session, repository_id, why, self._clock()):
            raise Refused(f"{short_name(canonical_name(repository))} is taken down already: {context.taken_down}")
        # The receiver of an offer could use it.
        await rename_store.end_transfer(session, repository_id)
        full_name = canonical_name(repository)
        await audit.record_repository(
            session, actor, HubAction.TAKE_DOWN_REPOSITORY, full_name, reason=why, at=self._clock()
        )

    async def restore(self, actor: HubActor, repository: str) -> None:
        """Restore a repository as it was. Raises NotFound, Refused."""
        async with self._database.writing() as session:
            context = await self._found(session, actor, repository, HubAction.RESTORE_REPOSITORY)
            if not await store.restore(session, context.repository_id or 0):
                raise Refused(f"{short_name(canonical_name(repository))} is not taken down")
            await audit.record_repository(
                session, actor, HubAction.RESTORE_REPOSITORY, canonical_name(repository), at=self._clock()
            )

    async def delete(self, actor: HubActor, repository: str, reason: TakedownReason) -> None:
        """Delete a repository with all its content. Raises NotFound, Invalid."""
        full_name = canonical_name(repository)
        async with self._database.writing() as session:
            await self._found(session, actor, repository, HubAction.REMOVE_REPOSITORY)
            why = reason.checked()
            await audit.record_repository(
                session, actor, HubAction.REMOVE_REPOSITORY, full_name, reason=why, at=self._clock()
            )
        await self._registry.delete(as_operator(actor), full_name)

    async def hand_over(self, actor: HubActor, repository: str, new: NewTransfer) -> RepositoryTransfer:
        """Give a repository to another owner at once. Raises NotFound, Refused, ConfirmationNeeded, Invalid, Taken."""
        await self._confirmations.require_on_hub(actor, HubAction.HAND_OVER_REPOSITORY)
        full_name = canonical_name(repository)
        async with self._database.reading() as session:
            context = await existing(self._access, session, full_name)
        if context.taken_down is not None:
            raise Refused(f"{short_name(full_name)} is taken down", "restore it first")
        async with self._database.writing() as session:
            await audit.record_repository(
                session, actor, HubAction.HAND_OVER_REPOSITORY, full_name, to=new.to, at=self._clock()
            )
            return await self._transfers.transfer_in(session, as_operator(actor), full_name, new)

    async def set_official(self, actor: HubActor, repository: str, *, official: bool) -> None:
        """Mark a repository as official, or end that. Raises NotFound."""
        async with self._database.writing() as session:
            context = await self._found(session, actor, repository, HubAction.SET_OFFICIAL)
            await store.set_official(session, context.repository_id or 0, official=official)
            word = "yes" if official else "no"
            full_name = canonical_name(repository)
            await audit.record_repository(
                session, actor, HubAction.SET_OFFICIAL, full_name, official=word, at=self._clock()
            )

    async def _found(self, session: Session, actor: HubActor, repository: str, action: HubAction) -> AccessContext:
        await self._access.require_hub(actor, action, session)
        return await existing(self._access, session, canonical_name(repository))


def as_operator(actor: HubActor) -> HubActor:
    """Return an administrator, who was checked, as an actor who may do everything; the audit log names them."""
    return msgspec.structs.replace(actor, operating=True, granted=None, repositories=None)
