"""Transfers repositories to other owners: at once where the actor may create repositories, else by an offer.

The receiver gets e-mail, and accepts or declines an offer within ``LIFETIME``. Grants of the former organization's
teams and its collaborators end. The old name redirects to the new one.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated

import msgspec
from msgspec import Meta

from hythe.database import Database, Session
from hythe.hub.access.access_context import AccessContext
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.access.former_names import require_not_renamed
from hythe.hub.accounts.namespaces import Namespace, NamespaceKind, canonical_name, could_be_name, short_name
from hythe.hub.actor import HubActor
from hythe.hub.errors import Invalid, NotFound
from hythe.hub.logs import audit
from hythe.hub.mail.mail import MailQueue
from hythe.hub.mail.mail_message import Purpose
from hythe.hub.mail.mail_texts import transfer_offered
from hythe.hub.page import Page, Paging
from hythe.hub.renaming.relocation import Relocation
from hythe.hub.sql import mail as mail_store
from hythe.hub.sql import namespaces as namespace_store
from hythe.hub.sql import renames as store
from hythe.hub.sql import users as user_store
from hythe.hub.sql.renames import Transfer
from hythe.hub.sql.tokens import people_behind
from hythe.oci.reference import DEFAULT_NAMESPACE

LIFETIME = timedelta(days=7)

MAX_MAIL = 10
"""E-mail about offers that a user gets in ``MAIL_PERIOD``: anyone can offer them something, and withdraw it."""

MAIL_PERIOD = timedelta(days=1)


class NewTransfer(msgspec.Struct, frozen=True):
    """The new owner of a repository, and its name there, empty: the same. Top-level repositories are ``library``'s."""

    to: Annotated[str, Meta(max_length=39)]
    name: Annotated[str, Meta(max_length=255)] = ""


class RepositoryTransfer(msgspec.Struct, frozen=True):
    """The name that the repository has now or, if it is not ``done``, once the receiver has accepted the offer."""

    repository: str
    done: bool
    expires_at: datetime | None = None


class TransferService:
    """Transfers and offers of repositories."""

    def __init__(
        self,
        database: Database,
        access: HubAccess,
        relocation: Relocation,
        mail: MailQueue,
        clock: Callable[[], datetime],
        hub_url: str,
    ) -> None:
        self._database = database
        self._access = access
        self._relocation = relocation
        self._mail = mail
        self._hub_url = hub_url.rstrip("/")
        self._clock = clock

    async def transfer(self, actor: HubActor, repository: str, new: NewTransfer) -> RepositoryTransfer:
        """Give a repository another owner, at once or by an offer.

        Raises NotFound, SignInNeeded, Refused, Invalid, Taken.
        """
        async with self._database.writing() as session:
            return await self.transfer_in(session, actor, canonical_name(repository), new)

    async def transfer_in(
        self, session: Session, actor: HubActor, full_name: str, new: NewTransfer
    ) -> RepositoryTransfer:
        """Do what ``transfer`` does in the caller's transaction."""
        context = await self._access.require_repository(actor, full_name, HubAction.TRANSFER_REPOSITORY, session)
        target = await self._receiver(session, new.to)
        name = new.name or full_name.partition("/")[2]
        if target.id == context.namespace_id:
            raise Invalid({"to": f"{target.name} has the repository already: rename it instead"})
        if await self._access.may(actor, f"{target.name}/{name}", HubAction.CREATE_REPOSITORY, session):
            return await self._finish(session, actor, context, full_name, target, name)
        if target.name == DEFAULT_NAMESPACE:
            raise Invalid({"to": "only curators may make a repository top-level"})
        return await self._offer(session, actor, context, full_name, target, name)

    async def _receiver(self, session: Session, name: str) -> Namespace:
        found = await namespace_store.by_name(session, name) if could_be_name(name) else None
        if found is None:
            if could_be_name(name):
                await require_not_renamed(session, name)
            raise Invalid({"to": "must be the name of a user or an organization"})
        return found

    async def _finish(
        self, session: Session, actor: HubActor, context: AccessContext, former: str, target: Namespace, name: str
    ) -> RepositoryTransfer:
        moved = await self._relocation.move(session, context, target, name, actor.name)
        for namespace in (former.partition("/")[0], target.name):
            await audit.record(
                session,
                actor,
                HubAction.TRANSFER_REPOSITORY,
                short_name(moved),
                namespace=namespace,
                detail={"former": former},
                at=self._clock(),
            )
        return RepositoryTransfer(moved, True)

    async def _offer(
        self, session: Session, actor: HubActor, context: AccessContext, full_name: str, target: Namespace, name: str
    ) -> RepositoryTransfer:
        now = self._clock()
        await store.remove_expired_transfers(session, now)
        until = now + LIFETIME
        await store.add_transfer(session, context.repository_id or 0, target.id, name, actor.name, now, until)
        await audit.record_repository(
            session, actor, HubAction.OFFER_REPOSITORY, full_name, to=target.name, at=self._clock()
        )
        await self._tell(session, target, await self._offered(session, context.repository_id or 0))
        return RepositoryTransfer(f"{target.name}/{name}", False, until)

    async def _tell(self, session: Session, target: Namespace, offer: Transfer) -> None:
        """Queue e-mail to the receiver of an offer: a user, or the owners of an organization."""
        names = f"/{target.name}/-/names" if target.kind is NamespaceKind.ORGANIZATION else "/account/names"
        host, url = self._hub_url.partition("://")[2], f"{self._hub_url}{names}"
        since, purpose = self._clock() - MAIL_PERIOD, Purpose.TRANSFER_OFFERED.value
        for user_id in await people_behind(session, target.user_id or 0):
            user = await user_store.by_id(session, user_id)
            sent = await mail_store.count_recent(session, user_id, purpose, since, MAX_MAIL)
            if user is not None and user.email and sent < MAX_MAIL:
                await self._mail.add(session, transfer_offered(user, offer, host, url))

    async def offer(self, actor: HubActor, repository: str) -> Transfer:
        """Return the offer of a repository. Raises NotFound, SignInNeeded, Refused."""
        full_name = canonical_name(repository)
        async with self._database.reading() as session:
            action = HubAction.VIEW_TRANSFERS
            context = await self._access.require_repository(actor, full_name, action, session)
            return await self._offered(session, context.repository_id or 0)

    async def withdraw(self, actor: HubActor, repository: str) -> None:
        """Withdraw the offer of a repository. Raises NotFound, SignInNeeded, Refused."""
        full_name = canonical_name(repository)
        async with self._database.writing() as session:
            action = HubAction.WITHDRAW_TRANSFER
            context = await self._access.require_repository(actor, full_name, action, session)
            await self._offered(session, context.repository_id or 0)
            await store.end_transfer(session, context.repository_id or 0)
            await audit.record_repository(session, actor, action, full_name, at=self._clock())

    async def _offered(self, session: Session, repository_id: int) -> Transfer:
        found = await store.transfer(session, repository_id, self._clock())
        if found is None:
            raise NotFound("the offer does not exist, or it has expired")
        return found

    async def offers_to(self, actor: HubActor, namespace: str, paging: Paging) -> Page[Transfer]:
        """Return the repositories that are offered to an account. Raises NotFound, SignInNeeded, Refused."""
        async with self._database.reading() as session:
            context = await self._access.require_namespace(actor, namespace, HubAction.VIEW_OFFERS, session)
            return await store.transfers_to(session, context.namespace_id or 0, self._clock(), paging)

    async def accept(self, actor: HubActor, namespace: str, repository_id: int) -> RepositoryTransfer:
        """Accept an offer for an account. Raises NotFound, SignInNeeded, Refused, Invalid, Taken."""
        async with self._database.writing() as session:
            found = await self._offered_to(session, actor, namespace, repository_id, HubAction.ACCEPT_TRANSFER)
            target = await self._receiver(session, namespace)
            # The owners of the repository offered it, and could withdraw that.
            context = await self._access.context(HubActor.operator(), found.repository, session)
            return await self._finish(session, actor, context, found.repository, target, found.name)

    async def decline(self, actor: HubActor, namespace: str, repository_id: int) -> None:
        """Decline an offer to an account. Raises NotFound, SignInNeeded, Refused."""
        async with self._database.writing() as session:
            found = await self._offered_to(session, actor, namespace, repository_id, HubAction.DECLINE_TRANSFER)
            await store.end_transfer(session, repository_id)
            target = short_name(found.repository)
            await audit.record(
                session, actor, HubAction.DECLINE_TRANSFER, target, namespace=namespace, at=self._clock()
            )

    async def _offered_to(
        self, session: Session, actor: HubActor, namespace: str, repository_id: int, action: HubAction
    ) -> Transfer:
        await self._access.require_namespace(actor, namespace, action, session)
        found = await self._offered(session, repository_id)
        if found.to != namespace:
            raise NotFound("the offer does not exist, or it has expired")
        return found
