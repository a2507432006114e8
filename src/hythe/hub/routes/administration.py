"""Blocked names and digests, accounts, storage and settings for administrators, in the JSON API."""

from http import HTTPStatus
from typing import Annotated

import msgspec
from msgspec import Meta

from hythe.hub.access.actions import HubAction
from hythe.hub.accounts.accounts import MAX_BEGINNING, RolesChange
from hythe.hub.accounts.namespaces import AccountKind
from hythe.hub.administration.blocked_digests import BlockingResult, NewBlockedDigest
from hythe.hub.administration.blocked_names import NewBlockedName
from hythe.hub.administration.overview import HubOverview
from hythe.hub.administration.settings_in_force import SettingInForce
from hythe.hub.roles import HubRole
from hythe.hub.routes.endpoint import ApiRequest, Endpoint, Nothing, PageQuery, PageReply, page_reply
from hythe.hub.service import HubServices
from hythe.hub.sql.accounts import Account
from hythe.hub.sql.blocked_digests import BlockedDigest
from hythe.hub.sql.blocked_names import BlockedName
from hythe.hub.sql.storage import StorageReport


class AccountsQuery(PageQuery, frozen=True):
    """The beginning of the names (with ``@``: e-mail addresses), and the requested page.

    ``kind``: only users, or only organizations, by their names; ``role``: only users with this role on the hub.
    """

    q: Annotated[str, Meta(max_length=MAX_BEGINNING)] = ""
    kind: AccountKind | None = None
    role: HubRole | None = None


class BlockedNameList(msgspec.Struct, frozen=True):
    """All blocked patterns."""

    items: tuple[BlockedName, ...]


class SettingsInForce(msgspec.Struct, frozen=True):
    """All settings."""

    items: tuple[SettingInForce, ...]


async def _overview(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> HubOverview:
    return await hub.hub_administration.overview.get(call.actor)


async def _accounts(hub: HubServices, call: ApiRequest[Nothing, AccountsQuery]) -> PageReply[Account]:
    query = call.query
    page = await hub.hub_administration.accounts.find(call.actor, query.q, query.paging(), query.kind, query.role)
    return page_reply(page, page.items)


async def _sign_out(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> None:
    await hub.hub_administration.accounts.sign_out(call.actor, call.path["username"])


async def _set_roles(hub: HubServices, call: ApiRequest[RolesChange, Nothing]) -> None:
    await hub.hub_administration.accounts.set_roles(call.actor, call.path["username"], call.body)


async def _names(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> BlockedNameList:
    return BlockedNameList(await hub.hub_administration.blocked_names.list(call.actor))


async def _block_name(hub: HubServices, call: ApiRequest[NewBlockedName, Nothing]) -> None:
    await hub.hub_administration.blocked_names.block(call.actor, call.body)


async def _unblock_name(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> None:
    await hub.hub_administration.blocked_names.unblock(call.actor, call.path["pattern"])


async def _digests(hub: HubServices, call: ApiRequest[Nothing, PageQuery]) -> PageReply[BlockedDigest]:
    page = await hub.hub_administration.blocked_digests.list(call.actor, call.query.paging())
    return page_reply(page, page.items)


async def _block_digest(hub: HubServices, call: ApiRequest[NewBlockedDigest, Nothing]) -> BlockingResult:
    return await hub.hub_administration.blocked_digests.block(call.actor, call.body)


async def _unblock_digest(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> None:
    await hub.hub_administration.blocked_digests.unblock(call.actor, call.path["digest"])


async def _storage(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> StorageReport:
    return await hub.hub_administration.storage.report(call.actor)


async def _settings(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> SettingsInForce:
    return SettingsInForce(await hub.hub_administration.settings.list(call.actor))


_DONE = HTTPStatus.NO_CONTENT

ENDPOINTS = (
    Endpoint(
        "GET",
        "/api/v1/admin/overview",
        "Get the numbers of accounts, repositories, reports and messages (administrators only)",
        _overview,
        reply=HubOverview,
        action=HubAction.VIEW_OVERVIEW,
    ),
    Endpoint(
        "GET",
        "/api/v1/admin/accounts",
        "Find users and organizations by the beginning of a name or an e-mail address (administrators only)",
        _accounts,
        query=AccountsQuery,
        reply=PageReply[Account],
        action=HubAction.VIEW_USERS,
    ),
    Endpoint(
        "POST",
        "/api/v1/admin/accounts/{username}/sign-out",
        "End every session and login of an account (administrators only)",
        _sign_out,
        status=_DONE,
        action=HubAction.SIGN_OUT_USER,
    ),
    Endpoint(
        "PATCH",
        "/api/v1/admin/accounts/{username}/roles",
        "Make an account an administrator or a curator, or end that (administrators only)",
        _set_roles,
        body=RolesChange,
        status=_DONE,
        action=HubAction.SET_HUB_ROLE,
    ),
    Endpoint(
        "GET",
        "/api/v1/admin/blocked-names",
        "List blocked names (administrators only)",
        _names,
        reply=BlockedNameList,
        action=HubAction.VIEW_BLOCKED,
    ),
    Endpoint(
        "POST",
        "/api/v1/admin/blocked-names",
        "Block names of new accounts and repositories (administrators only)",
        _block_name,
        body=NewBlockedName,
        status=_DONE,
        action=HubAction.BLOCK_NAME,
    ),
    Endpoint(
        "DELETE",
        "/api/v1/admin/blocked-names/{pattern}",
        "Unblock names (administrators only)",
        _unblock_name,
        status=_DONE,
        action=HubAction.UNBLOCK_NAME,
    ),
    Endpoint(
        "GET",
        "/api/v1/admin/blocked-digests",
        "List blocked manifests and blobs (administrators only)",
        _digests,
        query=PageQuery,
        reply=PageReply[BlockedDigest],
        action=HubAction.VIEW_BLOCKED,
    ),
    Endpoint(
        "POST",
        "/api/v1/admin/blocked-digests",
        "Block a manifest or blob, and delete it from every repository (administrators only)",
        _block_digest,
        body=NewBlockedDigest,
        reply=BlockingResult,
        action=HubAction.BLOCK_DIGEST,
    ),
    Endpoint(
        "DELETE",
        "/api/v1/admin/blocked-digests/{digest}",
        "Unblock a manifest or blob (administrators only)",
        _unblock_digest,
        status=_DONE,
        action=HubAction.UNBLOCK_DIGEST,
    ),
    Endpoint(
        "GET",
        "/api/v1/admin/storage",
        "Show the storage in use, and the largest namespaces (administrators only)",
        _storage,
        reply=StorageReport,
        action=HubAction.VIEW_STORAGE,
    ),
    Endpoint(
        "GET",
        "/api/v1/admin/settings",
        "List the settings in force, without secrets (administrators only)",
        _settings,
        reply=SettingsInForce,
        action=HubAction.VIEW_SETTINGS,
    ),
)
