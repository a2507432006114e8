"""What administrators do to accounts: block, unblock and delete them.

A blocked account keeps what it has, and its public repositories stay readable, but it cannot sign in, and its sessions,
tokens and builds end at once. A deleted account loses everything; its name stays reserved, because a stranger who took
it would receive the pulls of the old images. Only an administrator can give it to a new account.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from hythe.database import Database, Session
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.accounts.account_events import AccountListener
from hythe.hub.accounts.namespaces import could_be_name
from hythe.hub.accounts.user import User
from hythe.hub.actor import HubActor
from hythe.hub.errors import Invalid, NotFound, Refused
from hythe.hub.logs import audit
from hythe.hub.sql import organizations as organization_store
from hythe.hub.sql import sessions as session_store
from hythe.hub.sql import tokens as token_store
from hythe.hub.sql import user_administration as store
from hythe.hub.sql import users as user_store
from hythe.hub.sql.user_administration import MAX_COUNTED, AccountContents
from hythe.hub.validation import Precondition
from hythe.hub.wording import counted
from hythe.oci.errors import ErrorCode, WireError
from hythe.periodic import repeat
from hythe.registry.repositories import Repositories as RegistryRepositories
from hythe.settings import format_bytes
from hythe.wake_ups import WakeUp

COUNT_TIMEOUT = 30.0
"""Maximum seconds to count what an account has."""

REPLY_TIME = 10.0
"""Seconds after which a request that deletes an account gets its response, also if repositories are left."""

INTERVAL = 30.0
"""Seconds between two looks for deleted accounts that other processes left."""

MAX_BLOCK_REASON = 500

log = logging.getLogger(__name__)


class DeletedAccount(msgspec.Struct, frozen=True):
    """What was deleted, and what is left at forges because it could not be removed there."""

    deleted: AccountContents
    remaining: tuple[str, ...]


class UserAdministration:
    """Blocks, unblocks and deletes accounts. Every call raises SignInNeeded or Refused unless an administrator calls.

    Administrators cannot block or delete their own account, nor the last administrator.
    """

    def __init__(
        self,
        database: Database,
        access: HubAccess,
        registry: RegistryRepositories,
        listeners: Sequence[AccountListener],
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._access = access
        self._registry = registry
        self._listeners = listeners
        self._clock = clock
        self.unfinished = WakeUp()
        """Set when ``run`` has to continue what a request began."""

    async def block(self, actor: HubActor, name: str, reason: str = "") -> User:
        """Block an account: its credentials stop at once on every server, and its builds are cancelled.

        The audit log has the reason. Raises NotFound, Refused, Invalid.
        """
        await self._access.require_hub(actor, HubAction.BLOCK_USER)
        reason = " ".join(reason.split())
        if len(reason) > MAX_BLOCK_REASON:
            raise Invalid({"reason": f"must have at most {MAX_BLOCK_REASON} characters"})
        async with self._database.writing() as session:
            user = await self._other(session, actor, name)
            if not user.blocked:
                await self._block(session, user)
                detail = {"reason": reason} if reason else {}
                await audit.record(session, actor, HubAction.BLOCK_USER, name, detail=detail, at=self._clock())
            return await _named(session, name)

    async def _block(self, session: Session, user: User) -> None:
        await store.set_blocked(session, user.id, self._clock())
        await session_store.remove_of_user(session, user.id)
        await token_store.remove_refresh_of_user(session, user.id)
        for listener in self._listeners:
            await listener.account_blocked(session, user)

    async def unblock(self, actor: HubActor, name: str) -> User:
        """Unblock an account. Its password and personal tokens work again; the user signs in and logs in again.

        Raises NotFound.
        """
        await self._access.require_hub(actor, HubAction.UNBLOCK_USER)
        async with self._database.writing() as session:
            user = await _named(session, name)
            if user.blocked:
                await store.set_blocked(session, user.id, None)
                await audit.record(session, actor, HubAction.UNBLOCK_USER, name, at=self._clock())
            return await _named(session, name)

    async def contents(self, actor: HubActor, name: str) -> AccountContents:
        """Return what ``delete`` would delete. Raises NotFound."""
        await self._access.require_hub(actor, HubAction.DELETE_USER)
        async with self._database.reading() as session:
            await _named(session, name)
        async with self._database.reading_long(COUNT_TIMEOUT) as session:
            return await store.contents(session, name)

    async def delete(self, actor: HubActor, name: str, confirmation: str) -> DeletedAccount:
        """Delete an account with everything it has. ``confirmation`` must be its name.

        From then on it exists for no one, and its repositories are deleted one after the other. The command line
        waits for the last one, and others for REPLY_TIME; ``run`` of any server continues. Raises NotFound, Refused,
        Invalid.
        """
        contents = await self.contents(actor, name)
        _require_confirmation(name, confirmation, contents)
        async with self._database.writing() as session:
            user = await self._other(session, actor, name)
            if organization := await organization_store.solely_owned(session, user.id):
                raise Refused(
                    f"{name} is the last owner of the organization {organization}",
                    "make another member an owner first, or delete the organization",
                )
            await self._end(session, actor, HubAction.DELETE_USER, user)
        return await self._delete(actor, user, contents)

    async def delete_organization(
        self, actor: HubActor, name: str, confirmation: str, unchanged: Precondition | None = None
    ) -> DeletedAccount:
        """Delete an organization with everything it has, for its owners, in the same way.

        Raises NotFound, Refused, Invalid.
        """
        await self._access.require_organization(actor, name, HubAction.DELETE_ORGANIZATION)
        async with self._database.reading_long(COUNT_TIMEOUT) as session:
            contents = await store.contents(session, name)
        _require_confirmation(name, confirmation, contents)
        async with self._database.writing() as session:
            await self._access.require_organization(actor, name, HubAction.DELETE_ORGANIZATION, session)
            user = await _named(session, name)
            if unchanged is not None:
                await organization_store.lock(session, user.id)
                await unchanged(session)
            await self._end(session, actor, HubAction.DELETE_ORGANIZATION, user)
        return await self._delete(actor, user, contents)

    async def _end(self, session: Session, actor: HubActor, action: HubAction, user: User) -> None:
        await self._block(session, user)
        await store.set_deleted(session, user.id, self._clock())
        await audit.record(session, actor, action, user.name, namespace=user.name, at=self._clock())

    async def _delete(self, actor: HubActor, user: User, contents: AccountContents) -> DeletedAccount:
        remaining = await self._clean_up_elsewhere(user.id, user.name)
        try:
            async with asyncio.timeout(None if actor.operating else REPLY_TIME):
                await self._finish(user.id, user.name)
        except TimeoutError:
            self.unfinished.set()
        return DeletedAccount(contents, remaining)

    async def run(self) -> None:
        """Continue the deletions of accounts that other processes or requests began, until cancelled."""
        await repeat(self._finish_all, INTERVAL, "deletion of accounts", self.unfinished)

    async def _finish_all(self) -> None:
        async with self._database.reading() as session:
            found = await store.deleted_users(session)
        for user_id, name in found:
            for remaining in await self._clean_up_elsewhere(user_id, name):
                log.warning("the account %s was deleted, and this remains: %s", name, remaining)
            await self._finish(user_id, name)

    async def _clean_up_elsewhere(self, user_id: int, name: str) -> tuple[str, ...]:
        """Remove what the account has in other places; return what remains there. Can be repeated."""
        found = [each for listener in self._listeners for each in await listener.account_deleting(user_id, name)]
        return tuple(found)

    async def _finish(self, user_id: int, name: str) -> None:
        while not await self._remove_if_empty(user_id, name):
            await self._delete_repositories(name)

    async def _delete_repositories(self, name: str) -> None:
        async with self._database.reading() as session:
            found = await store.some_repository_names(session, name)
        for repository in found:
            try:
                await self._registry.delete(HubActor.operator(), repository)
            except WireError as error:
                if error.code is not ErrorCode.NAME_UNKNOWN:
                    raise

    async def _remove_if_empty(self, user_id: int, name: str) -> bool:
        async with self._database.writing() as session:
            if await store.some_repository_names(session, name):
                return False
            await store.remove(session, user_id, name, self._clock())
            return True

    async def _other(self, session: Session, actor: HubActor, name: str) -> User:
        """Return an account that the actor may block or delete. Raises NotFound, Refused."""
        admins = await store.lock_active_admins(session)
        user = await _named(session, name)
        if user.id == actor.user_id:
            raise Refused("you cannot block or delete your own account", "ask another administrator")
        if admins == {user.id}:
            raise Refused(
                f"{name} is the last administrator", "create another one first: hythe admin create-user NAME --admin"
            )
        return user


def _require_confirmation(name: str, confirmation: str, contents: AccountContents) -> None:
    if confirmation != name:
        raise Invalid({"confirm": f"must be {name}: this deletes {described(contents)}"})


async def _named(session: Session, name: str) -> User:
    user = await user_store.by_name(session, name) if could_be_name(name) else None
    if user is None:
        raise NotFound(f"user {name!r} does not exist", "'hythe admin list-users' shows all accounts")
    return user


def described(contents: AccountContents) -> str:
    """Describe what an account has: ``2 repositories with 5 tags (1.2 MiB), 1 build and 3 personal tokens``."""
    parts = [
        f"{_bounded(contents.repositories, 'repository', 'repositories')} with {_bounded(contents.tags, 'tag')}"
        f" ({format_bytes(contents.bytes)})"
    ]
    nouns = ("build", "webhook", "personal token", "linked account")
    parts += [_bounded(getattr(contents, f"{noun.replace(' ', '_')}s"), noun) for noun in nouns]
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def _bounded(count: int, one: str, many: str = "") -> str:
    return counted(min(count, MAX_COUNTED), one, many, exact=count <= MAX_COUNTED)
