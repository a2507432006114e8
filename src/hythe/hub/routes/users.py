"""Accounts in the JSON API."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated

import msgspec
from msgspec import Meta

from hythe.hub.access.actions import HubAction
from hythe.hub.accounts.namespaces import AccountKind
from hythe.hub.accounts.user import User, Visibility
from hythe.hub.accounts.user_administration import MAX_BLOCK_REASON, DeletedAccount
from hythe.hub.accounts.users import NewUser, PlanChange, UserChange
from hythe.hub.routes.endpoint import ApiRequest, Endpoint, Nothing, PageQuery, PageReply, page_reply
from hythe.hub.service import HubServices
from hythe.hub.sql.user_administration import AccountContents


class UserReply(msgspec.Struct, frozen=True, omit_defaults=True):
    """An account of a user, or of an organization, which has no e-mail address.

    Only the user and administrators see the fields from ``email`` on.
    A limit of null means unlimited. ``storage_limit`` and ``storage_used`` are in bytes; ``build_limit`` and
    ``build_minutes`` are minutes of builds in the last 30 days.
    """

    username: str
    admin: bool
    created_at: datetime
    kind: AccountKind
    email: str = ""
    email_confirmed: bool | msgspec.UnsetType = msgspec.UNSET
    default_visibility: Visibility | msgspec.UnsetType = msgspec.UNSET
    private_limit: int | msgspec.UnsetType | None = msgspec.UNSET
    private_count: int | msgspec.UnsetType = msgspec.UNSET
    repository_limit: int | msgspec.UnsetType | None = msgspec.UNSET
    repository_count: int | msgspec.UnsetType = msgspec.UNSET
    storage_limit: int | msgspec.UnsetType | None = msgspec.UNSET
    storage_used: int | msgspec.UnsetType = msgspec.UNSET
    upload_limit: int | msgspec.UnsetType | None = msgspec.UNSET
    upload_count: int | msgspec.UnsetType = msgspec.UNSET
    build_limit: int | msgspec.UnsetType | None = msgspec.UNSET
    build_minutes: int | msgspec.UnsetType = msgspec.UNSET
    blocked: bool | msgspec.UnsetType = msgspec.UNSET


class DeletionQuery(msgspec.Struct, frozen=True):
    """``confirm`` must be the name of the account."""

    confirm: str = ""


class BlockReason(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why an account is blocked; the audit log has it."""

    reason: Annotated[str, Meta(max_length=MAX_BLOCK_REASON)] = ""


class PasswordChange(msgspec.Struct, frozen=True):
    """A new password together with the current one."""

    current: str
    password: str


def _kind(user: User) -> AccountKind:
    return AccountKind.ORGANIZATION if user.organization else AccountKind.USER


def _email(user: User) -> str:
    """Return the e-mail address; an organization has a placeholder only."""
    return "" if user.organization else user.email


def user_reply(user: User) -> UserReply:
    """Return an account with what only the user and administrators see."""
    return UserReply(
        user.name,
        user.admin,
        user.created_at,
        _kind(user),
        _email(user),
        user.email_confirmed,
        user.default_visibility,
        **msgspec.structs.asdict(user.plan),
        **msgspec.structs.asdict(user.usage),
        blocked=user.blocked,
    )


def _shown(user: User) -> UserReply:
    return UserReply(user.name, user.admin, user.created_at, _kind(user), _email(user))


async def _create(hub: HubServices, call: ApiRequest[NewUser, Nothing]) -> UserReply:
    return user_reply(await hub.users.create(call.actor, call.body, call.address))


async def _list(hub: HubServices, call: ApiRequest[Nothing, PageQuery]) -> PageReply[UserReply]:
    page = await hub.users.list(call.actor, call.query.paging())
    return page_reply(page, map(user_reply, page.items))


async def _me(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> UserReply:
    return user_reply(await hub.users.me(call.actor))


async def _change_me(hub: HubServices, call: ApiRequest[UserChange, Nothing]) -> UserReply:
    return user_reply(await hub.users.change_me(call.actor, call.body))


async def _set_password(hub: HubServices, call: ApiRequest[PasswordChange, Nothing]) -> None:
    me = await hub.users.me(call.actor)
    await hub.users.set_password(call.actor, me.name, call.body.password, call.body.current)


async def _get(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> UserReply:
    return _shown(await hub.users.get(call.actor, call.path["username"]))


async def _set_plan(hub: HubServices, call: ApiRequest[PlanChange, Nothing]) -> UserReply:
    return user_reply(await hub.users.set_plan(call.actor, call.path["username"], call.body))


async def _block(hub: HubServices, call: ApiRequest[BlockReason, Nothing]) -> UserReply:
    return user_reply(await hub.administration.block(call.actor, call.path["username"], call.body.reason))


async def _unblock(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> UserReply:
    return user_reply(await hub.administration.unblock(call.actor, call.path["username"]))


async def _contents(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> AccountContents:
    return await hub.administration.contents(call.actor, call.path["username"])


async def _delete(hub: HubServices, call: ApiRequest[Nothing, DeletionQuery]) -> DeletedAccount:
    return await hub.administration.delete(call.actor, call.path["username"], call.query.confirm)


ENDPOINTS = (
    Endpoint(
        "POST",
        "/api/v1/users",
        "Sign up",
        _create,
        body=NewUser,
        reply=UserReply,
        status=HTTPStatus.CREATED,
        action=HubAction.SIGN_UP,
    ),
    Endpoint(
        "GET",
        "/api/v1/users",
        "List all accounts",
        _list,
        query=PageQuery,
        reply=PageReply[UserReply],
        action=HubAction.VIEW_USERS,
    ),
    Endpoint(
        "GET",
        "/api/v1/users/me",
        "Get your account",
        _me,
        reply=UserReply,
        action=HubAction.VIEW_ACCOUNT,
    ),
    Endpoint(
        "PATCH",
        "/api/v1/users/me",
        "Update your account",
        _change_me,
        body=UserChange,
        reply=UserReply,
        action=HubAction.CHANGE_ACCOUNT,
    ),
    Endpoint(
        "PUT",
        "/api/v1/users/me/password",
        "Change your password; ends all sessions and logins",
        _set_password,
        body=PasswordChange,
        status=HTTPStatus.NO_CONTENT,
        action=HubAction.SET_PASSWORD,
    ),
    Endpoint(
        "GET",
        "/api/v1/users/{username}",
        "Get an account",
        _get,
        reply=UserReply,
        action=HubAction.BROWSE,
    ),
    Endpoint(
        "PATCH",
        "/api/v1/users/{username}",
        "Change an account's plan (administrators only)",
        _set_plan,
        body=PlanChange,
        reply=UserReply,
        action=HubAction.SET_PLAN,
    ),
    Endpoint(
        "DELETE",
        "/api/v1/users/{username}",
        "Delete an account with everything it has (administrators only)",
        _delete,
        query=DeletionQuery,
        reply=DeletedAccount,
        action=HubAction.DELETE_USER,
    ),
    Endpoint(
        "GET",
        "/api/v1/users/{username}/contents",
        "Count what deleting an account would delete (administrators only)",
        _contents,
        reply=AccountContents,
        action=HubAction.DELETE_USER,
    ),
    Endpoint(
        "POST",
        "/api/v1/users/{username}/block",
        "Block an account (administrators only)",
        _block,
        body=BlockReason,
        reply=UserReply,
        action=HubAction.BLOCK_USER,
    ),
    Endpoint(
        "POST",
        "/api/v1/users/{username}/unblock",
        "Unblock an account (administrators only)",
        _unblock,
        reply=UserReply,
        action=HubAction.UNBLOCK_USER,
    ),
)
