"""Renames repositories and accounts. The old names keep working for pulls, pages and the API, until they are ended.

An account is renamed in one transaction, however many repositories it has: no request sees a part of it, and a crash
leaves the old name. What only remembers the name, search and finished builds, follows in small steps.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta
from sqlalchemy.exc import IntegrityError

from hythe.database import Database, Session
from hythe.database.pacing import paced
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.access.former_names import require_not_renamed
from hythe.hub.accounts.account_events import AccountListener
from hythe.hub.accounts.namespaces import (
    Namespace,
    canonical_name,
    could_be_name,
    namespace_of,
    short_name,
    user_name_problem,
)
from hythe.hub.actor import HubActor
from hythe.hub.administration.blocked_names import require_name
from hythe.hub.errors import Invalid, NotFound, Refused, Taken, TooManyAttempts
from hythe.hub.logs import audit
from hythe.hub.page import Page, Paging
from hythe.hub.renaming.relocation import Relocation
from hythe.hub.sql import former_names as former_store
from hythe.hub.sql import namespaces as namespace_store
from hythe.hub.sql import renames as store
from hythe.hub.sql import repositories as repository_store
from hythe.hub.sql import user_administration as administration_store
from hythe.hub.sql.former_names import FormerName
from hythe.hub.sql.renames import Account
from hythe.periodic import repeat
from hythe.registry.sql import renames as registry_renames
from hythe.wake_ups import WakeUp

RENAMES_PER_DAY = 5
"""How often an account can be renamed on a day."""

DAY = 86_400

INTERVAL = 30.0
"""Seconds between two looks for accounts that other processes renamed."""

STEP = 20
"""Search documents that one transaction of the background work updates."""

Name = Annotated[str, Meta(max_length=255)]


class NewName(msgspec.Struct, frozen=True):
    """The new name of a repository, without its namespace, or of an account."""

    name: Name


class RenameService:
    """Renames, and the redirects from old names."""

    def __init__(
        self,
        database: Database,
        access: HubAccess,
        relocation: Relocation,
        listeners: Sequence[AccountListener],
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._access = access
        self._relocation = relocation
        self._listeners = listeners
        self._clock = clock
        self.renamed = WakeUp()
        """Set when an account was renamed whose repositories follow."""

    async def rename_repository(self, actor: HubActor, repository: str, name: str) -> str:
        """Rename a repository within its namespace and return its full name. Pulls of the old name continue.

        Raises NotFound, SignInNeeded, Refused, Invalid, Taken.
        """
        full_name = canonical_name(repository)
        async with self._database.writing() as session:
            context = await self._access.require_repository(actor, full_name, HubAction.RENAME_REPOSITORY, session)
            target = await namespace_store.by_name(session, namespace_of(full_name))
            if target is None:
                raise NotFound(f"repository {short_name(full_name)!r} does not exist")
            new = await self._relocation.move(session, context, target, name, actor.name)
            await audit.record_repository(
                session, actor, HubAction.RENAME_REPOSITORY, new, former=full_name, at=self._clock()
            )
            return new

    async def rename_account(self, actor: HubActor, name: str, new: str) -> str:
        """Rename a user or an organization with all its repositories, and return the new name.

        Access tokens of a user end, so that engines get new ones. Raises NotFound, SignInNeeded, Refused, Invalid,
        Taken, TooManyAttempts.
        """
        if problem := user_name_problem(new):
            raise Invalid({"name": problem})
        try:
            async with self._database.writing() as session:
                await self._require_account(session, actor, name)
                account = await store.lock_account(session, name)
                if account is None:
                    raise NotFound(f"account {name!r} does not exist")
                if new == name:
                    return new
                if not await self._access.may_hub(actor, HubAction.USE_RESERVED_NAME):
                    await require_name(session, new)
                await self._rename(session, actor, account, new)
                detail = {"former": name}
                await audit.record(
                    session, actor, HubAction.RENAME_ACCOUNT, new, namespace=new, detail=detail, at=self._clock()
                )
        except IntegrityError as error:
            raise _taken(new) from error
        self.renamed.set()
        return new

    async def _require_account(self, session: Session, actor: HubActor, name: str) -> None:
        if not could_be_name(name):
            raise NotFound(f"account {name!r} does not exist")
        if await namespace_store.by_name(session, name) is None:
            await require_not_renamed(session, name)
        await self._access.require_namespace(actor, name, HubAction.RENAME_ACCOUNT, session)

    async def _rename(self, session: Session, actor: HubActor, account: Account, new: str) -> None:
        now = self._clock()
        day = int(now.timestamp()) // DAY
        count = 1 + (account.renames or 0 if account.renamed_on == day else 0)
        if count > RENAMES_PER_DAY and not actor.operating:
            left = DAY - int(now.timestamp()) % DAY
            raise TooManyAttempts(left, f"an account can be renamed {RENAMES_PER_DAY} times a day")
        # Before the row of the namespace, which pushes lock while they hold a repository.
        await registry_renames.rename_all(session, account.name, new)
        await store.rename_account(session, account, new, day, count)
        # After the new name is written, which waits for others that want it.
        await self._take(session, actor, account, new)
        await former_store.keep_account(session, account.namespace_id, account.name, now, actor.name)
        await store.rename_limits(session, account.user_id, account.name, new)
        for listener in self._listeners:
            await listener.account_renamed(session, account.name, new)
        await registry_renames.rename_usage(session, account.name, new)

    async def _take(self, session: Session, actor: HubActor, account: Account, new: str) -> None:
        """Check that no other account has or had the new name; the account itself may have had it."""
        if new in self._access.mirrors:
            raise _taken(new)
        former = await former_store.holder(session, new)
        if former is not None and former[0] != account.namespace_id:
            raise _taken(new)
        if former is not None:
            await former_store.end_account(session, new)
        elif await administration_store.is_reserved(session, new):
            if not actor.operating:
                raise _taken(new)
            await administration_store.release_name(session, new)

    async def redirects(self, actor: HubActor, namespace: str, paging: Paging) -> Page[FormerName]:
        """Return the former names of repositories in a namespace, by name. Raises NotFound, Refused."""
        async with self._database.reading() as session:
            found = await self._namespace(session, actor, namespace, HubAction.VIEW_REDIRECTS)
            return await former_store.of_namespace(session, found.id, found.name, paging)

    async def former_accounts(self, actor: HubActor, namespace: str) -> tuple[FormerName, ...]:
        """Return the former names of an account itself. Raises NotFound, Refused."""
        async with self._database.reading() as session:
            found = await self._namespace(session, actor, namespace, HubAction.VIEW_REDIRECTS)
            return await former_store.of_account(session, found.id, found.name)

    async def _namespace(self, session: Session, actor: HubActor, name: str, action: HubAction) -> Namespace:
        found = await namespace_store.by_name(session, name) if could_be_name(name) else None
        if found is None:
            await require_not_renamed(session, name[:39])
            raise NotFound(f"namespace {name!r} does not exist")
        await self._access.require_namespace(actor, name, action, session)
        return found

    async def end_redirect(self, actor: HubActor, name: str) -> None:
        """End the redirect from a former name: ``ann/app``, or ``ann`` for an account's.

        A new repository can have the name then. An account's stays reserved: only an administrator can give it to
        another account, which would receive the pulls of the old images. Raises NotFound, Refused.
        """
        async with self._database.writing() as session:
            if "/" in name:
                await self._end_repository(session, actor, name)
            else:
                await self._end_account(session, actor, name)

    async def _end_repository(self, session: Session, actor: HubActor, name: str) -> None:
        namespace, _, rest = name.partition("/")
        present = namespace
        if could_be_name(namespace) and await namespace_store.by_name(session, namespace) is None:
            present = await former_store.account(session, namespace) or namespace
        found = await self._namespace(session, actor, present, HubAction.END_REDIRECT)
        if not await former_store.end_repository(session, found.id, rest):
            raise NotFound(f"{name!r} is no former name of a repository")
        await audit.record(session, actor, HubAction.END_REDIRECT, name, namespace=found.name, at=self._clock())

    async def _end_account(self, session: Session, actor: HubActor, name: str) -> None:
        present = await former_store.account(session, name) if could_be_name(name) else None
        if present is None:
            raise NotFound(f"{name!r} is no former name of an account")
        await self._namespace(session, actor, present, HubAction.END_REDIRECT)
        held = await former_store.holder(session, name)
        if held is not None and not held[1]:
            raise Refused(f"{name} was renamed just now", "try again in a minute")
        await former_store.end_account(session, name)
        await administration_store.reserve_name(session, name, self._clock())
        await audit.record(session, actor, HubAction.END_REDIRECT, name, namespace=present, at=self._clock())

    async def run(self) -> None:
        """Let search and finished builds follow renamed accounts, until cancelled."""
        await repeat(self.follow_all, INTERVAL, "following renamed accounts", self.renamed)

    async def follow_all(self) -> None:
        """Let search and finished builds follow every account that was renamed, in small steps."""
        database = paced(self._database)
        async with database.reading() as session:
            found = await former_store.unfollowed(session)
        for former, namespace_id, present in found:
            await _index_again(database, namespace_id)
            for listener in self._listeners:
                more = True
                while more:
                    async with database.writing(durable=False) as session:
                        more = await listener.follow_rename(session, former, present)
            async with database.writing() as session:
                await former_store.set_followed(session, former, self._clock())


async def _index_again(database: Database, namespace_id: int) -> None:
    after: str | None = ""
    while after is not None:
        async with database.writing(durable=False) as session:
            found = await store.repositories_after(session, namespace_id, after, STEP)
            for repository_id, _ in found:
                await repository_store.index_if_listed(session, repository_id)
        after = found[-1][1] if found else None


def _taken(name: str) -> Taken:
    return Taken(f"the name {name} is taken", {"name": "is taken"}, "choose another name")
