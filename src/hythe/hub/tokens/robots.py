"""Robots: credentials of a namespace instead of a person, named ``NAMESPACE+ROBOT``.

A robot stays when the person who made it leaves. It acts as the namespace, limited to its rights and to repositories
of the namespace. One that is limited to ``NAMESPACE/*`` is the token of an organization.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy.exc import IntegrityError

from hythe.database import Database, Session
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.accounts.namespaces import could_be_name
from hythe.hub.actor import ROBOT_MARK, HubActor, Right
from hythe.hub.errors import Invalid, NotFound, Refused, Taken
from hythe.hub.logs import audit
from hythe.hub.sql import tokens as store
from hythe.hub.sql import trust_rules as rule_store
from hythe.hub.sql.tokens import NewTokenRow
from hythe.hub.tokens.personal_token import PersonalToken, TokenKind, digest_of, new_token_secret
from hythe.hub.tokens.personal_tokens import rotate, token_detail
from hythe.hub.tokens.token_terms import (
    MAX_TOKENS,
    ROBOT_RIGHTS,
    Days,
    LimitsChange,
    Patterns,
    Rotation,
    TokenTerms,
    checked_repositories,
    checked_rights,
)

Name = Annotated[str, Meta(min_length=1, max_length=39)]

NAME_RULE = "must be at most 39 lowercase letters, digits and '-', with no '-' at either end and no two in a row"


class NewRobot(msgspec.Struct, frozen=True):
    """A robot to create. ``repositories`` None: all of the namespace. ``expires_in_days`` None: it does not expire."""

    name: Name
    rights: tuple[Right, ...]
    repositories: Patterns | None = None
    expires_in_days: Days | None = None


class RobotChange(LimitsChange, frozen=True):
    """What to change of a robot; its secret stays. ``repositories`` None: all of the namespace."""

    name: Name | UnsetType = UNSET


class RobotService:
    """The robots of namespaces. Their owners manage them."""

    def __init__(
        self, database: Database, access: HubAccess, clock: Callable[[], datetime], terms: TokenTerms | None = None
    ) -> None:
        self._database = database
        self._access = access
        self._clock = clock
        self.terms = terms or TokenTerms(clock)

    async def create(self, actor: HubActor, namespace: str, new: NewRobot) -> tuple[str, PersonalToken]:
        """Create a robot; return its secret, which is never shown again, and the robot.

        Raises NotFound, Refused, Invalid, Taken.
        """
        name = checked_name(new.name)
        secret = new_token_secret(TokenKind.ROBOT)
        rights = checked_rights(new.rights, ROBOT_RIGHTS)
        repositories = limits_in(namespace, new.repositories)
        expires_at = self.terms.expiry(new.expires_in_days)
        try:
            async with self._database.writing() as session:
                owner_id = await require_owner(self._access, session, actor, namespace, HubAction.CREATE_ROBOT)
                if await store.count(session, owner_id, TokenKind.ROBOT, MAX_TOKENS) >= MAX_TOKENS:
                    raise Refused(f"a namespace can have {MAX_TOKENS} robots", "delete those that nothing uses")
                if await rule_store.by_name(session, owner_id, name) is not None:
                    raise _taken(namespace, name)
                row = NewTokenRow(owner_id, TokenKind.ROBOT, name, digest_of(secret), rights, repositories, expires_at)
                robot = await store.add(session, row, self._clock())
                await self._record(session, actor, HubAction.CREATE_ROBOT, namespace, robot)
        except IntegrityError as error:
            raise _taken(namespace, name) from error
        return secret, robot

    async def list(self, actor: HubActor, namespace: str) -> tuple[PersonalToken, ...]:
        """Return the robots of a namespace, newest first. Raises NotFound, SignInNeeded, Refused."""
        async with self._database.reading() as session:
            owner_id = await require_owner(self._access, session, actor, namespace, HubAction.VIEW_ROBOTS)
            return await store.listed(session, owner_id, TokenKind.ROBOT)

    async def get(self, actor: HubActor, namespace: str, name: str) -> PersonalToken:
        """Return a robot. Raises NotFound."""
        async with self._database.reading() as session:
            owner_id = await require_owner(self._access, session, actor, namespace, HubAction.VIEW_ROBOTS)
            return await _found(session, owner_id, namespace, name)

    async def change(self, actor: HubActor, namespace: str, name: str, change: RobotChange) -> PersonalToken:
        """Change the name or the limits of a robot; they apply at once. Raises NotFound, Invalid, Taken."""
        new_name = name if change.name is UNSET else checked_name(change.name)
        try:
            async with self._database.writing() as session:
                owner_id = await require_owner(self._access, session, actor, namespace, HubAction.CHANGE_ROBOT)
                robot = await _found(session, owner_id, namespace, name)
                if new_name != name and await rule_store.by_name(session, owner_id, new_name) is not None:
                    raise _taken(namespace, new_name)
                rights = frozenset(robot.rights)
                if change.rights is not UNSET:
                    rights = checked_rights(change.rights, ROBOT_RIGHTS)
                repositories = robot.repositories
                if change.repositories is not UNSET:
                    repositories = limits_in(namespace, change.repositories)
                await store.change(session, robot.id, TokenKind.ROBOT, new_name, rights, repositories)
                changed = await _found(session, owner_id, namespace, new_name)
                await self._record(session, actor, HubAction.CHANGE_ROBOT, namespace, changed)
                return changed
        except IntegrityError as error:
            raise _taken(namespace, new_name) from error

    async def rotate(self, actor: HubActor, namespace: str, name: str, rotation: Rotation) -> tuple[str, PersonalToken]:
        """Give a robot a new secret, and return it with the robot. Raises NotFound, Invalid."""
        async with self._database.writing() as session:
            owner_id = await require_owner(self._access, session, actor, namespace, HubAction.ROTATE_ROBOT)
            robot = await _found(session, owner_id, namespace, name)
            secret = await rotate(session, robot, TokenKind.ROBOT, rotation, self.terms, self._clock())
            await self._record(session, actor, HubAction.ROTATE_ROBOT, namespace, robot)
            return secret, await _found(session, owner_id, namespace, name)

    async def delete(self, actor: HubActor, namespace: str, name: str) -> None:
        """Delete a robot; its credentials end at once. Raises NotFound."""
        async with self._database.writing() as session:
            owner_id = await require_owner(self._access, session, actor, namespace, HubAction.DELETE_ROBOT)
            robot = await _found(session, owner_id, namespace, name)
            await store.remove(session, owner_id, TokenKind.ROBOT, robot.id)
            await self._record(session, actor, HubAction.DELETE_ROBOT, namespace, robot)

    async def _record(
        self, session: Session, actor: HubActor, action: HubAction, namespace: str, robot: PersonalToken
    ) -> None:
        target, detail = robot_name(namespace, robot.name), token_detail(robot)
        await audit.record(session, actor, action, target, at=self._clock(), namespace=namespace, detail=detail)


async def require_owner(access: HubAccess, session: Session, actor: HubActor, namespace: str, action: HubAction) -> int:
    """Return the id of the account that a namespace belongs to, if the actor may do this to its credentials.

    Raises SignInNeeded, Refused, NotFound.
    """
    access.require_signed_in(actor)
    context = await access.require_namespace(actor, namespace, action, session)
    if context.owner_id is None:
        raise NotFound(f"{namespace!r} has no owner")
    return context.owner_id


def robot_name(namespace: str, name: str) -> str:
    """Return the full name of a robot, with which it logs in."""
    return f"{namespace}{ROBOT_MARK}{name}"


def checked_name(name: str) -> str:
    """Return the name of a robot or a trust rule. Raises Invalid."""
    if not could_be_name(name):
        raise Invalid({"name": NAME_RULE})
    return name


def limits_in(namespace: str, repositories: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the canonical limits of a robot or trust rule: all of the namespace, or what is given. Raises Invalid."""
    return checked_repositories((f"{namespace}/*",) if repositories is None else repositories, namespace)


def _taken(namespace: str, name: str) -> Taken:
    message = f"{robot_name(namespace, name)} exists: a robot or a trust rule has that name"
    return Taken(message, {"name": "is in use"})


async def _found(session: Session, owner_id: int, namespace: str, name: str) -> PersonalToken:
    robot = await store.robot_by_name(session, owner_id, name)
    if robot is None:
        raise NotFound(f"there is no robot {robot_name(namespace, name)!r}")
    return robot
