"""Organizations in the JSON API."""

from datetime import datetime
from http import HTTPStatus

import msgspec

from hythe.hub.access.actions import HubAction
from hythe.hub.accounts.user import Visibility
from hythe.hub.accounts.user_administration import DeletedAccount
from hythe.hub.actor import HubActor
from hythe.hub.organizations.organization import DefaultRole, Membership, MemberWord, Organization, member_word
from hythe.hub.organizations.organizations import Conversion, NewOrganization, OrganizationChange
from hythe.hub.routes.endpoint import ApiRequest, Endpoint, Nothing, PageQuery, PageReply, page_reply
from hythe.hub.routes.users import DeletionQuery
from hythe.hub.service import HubServices


class OrganizationReply(msgspec.Struct, frozen=True, omit_defaults=True):
    """An organization. Only members see ``role``, which is their own, and the settings.

    ``member_role`` is what each member has on all repositories.
    """

    name: str
    created_at: datetime
    role: MemberWord | msgspec.UnsetType = msgspec.UNSET
    default_visibility: Visibility | msgspec.UnsetType = msgspec.UNSET
    member_role: DefaultRole | msgspec.UnsetType = msgspec.UNSET
    members_create: bool | msgspec.UnsetType = msgspec.UNSET
    require_second_factor: bool | msgspec.UnsetType = msgspec.UNSET


async def _reply(hub: HubServices, actor: HubActor, found: Organization) -> OrganizationReply:
    role = await hub.organizations.role(actor, found.name)
    if role is None:
        return OrganizationReply(found.name, found.created_at)
    return OrganizationReply(
        found.name,
        found.created_at,
        member_word(role.value),
        found.default_visibility,
        found.member_role,
        found.members_create,
        found.require_second_factor,
    )


async def _create(hub: HubServices, call: ApiRequest[NewOrganization, Nothing]) -> OrganizationReply:
    return await _reply(hub, call.actor, await hub.organizations.create(call.actor, call.body))


async def _get(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> OrganizationReply:
    return await _reply(hub, call.actor, await hub.organizations.get(call.actor, call.path["organization"]))


async def _change(hub: HubServices, call: ApiRequest[OrganizationChange, Nothing]) -> OrganizationReply:
    changed = await hub.organizations.change(call.actor, call.path["organization"], call.body, call.unchanged)
    return await _reply(hub, call.actor, changed)


async def _delete(hub: HubServices, call: ApiRequest[Nothing, DeletionQuery]) -> DeletedAccount:
    name, confirmation = call.path["organization"], call.query.confirm
    return await hub.organizations.delete(call.actor, name, confirmation, call.unchanged)


async def _own(hub: HubServices, call: ApiRequest[Nothing, PageQuery]) -> PageReply[Membership]:
    page = await hub.organizations.of_actor(call.actor, call.query.paging())
    return page_reply(page, page.items)


async def _convert(hub: HubServices, call: ApiRequest[Conversion, Nothing]) -> OrganizationReply:
    found = await hub.organizations.convert(call.actor, call.body)
    return OrganizationReply(found.name, found.created_at)


_ONE = "/api/v1/organizations/{organization}"

ENDPOINTS = (
    Endpoint(
        "GET",
        "/api/v1/users/me/organizations",
        "List the organizations that you are a member of",
        _own,
        query=PageQuery,
        reply=PageReply[Membership],
        action=HubAction.VIEW_OWN_ORGANIZATIONS,
    ),
    Endpoint(
        "POST",
        "/api/v1/users/me/conversion",
        "Turn your account into an organization that another user owns",
        _convert,
        body=Conversion,
        reply=OrganizationReply,
        action=HubAction.CONVERT_ACCOUNT,
    ),
    Endpoint(
        "POST",
        "/api/v1/organizations",
        "Create an organization",
        _create,
        body=NewOrganization,
        reply=OrganizationReply,
        status=HTTPStatus.CREATED,
        action=HubAction.CREATE_ORGANIZATION,
    ),
    Endpoint("GET", _ONE, "Get an organization", _get, reply=OrganizationReply, action=HubAction.VIEW_ORGANIZATION),
    Endpoint(
        "PATCH",
        _ONE,
        "Change the settings of an organization",
        _change,
        body=OrganizationChange,
        reply=OrganizationReply,
        compares=True,
        action=HubAction.CHANGE_ORGANIZATION,
    ),
    Endpoint(
        "DELETE",
        _ONE,
        "Delete an organization with everything it has",
        _delete,
        query=DeletionQuery,
        reply=DeletedAccount,
        compares=True,
        action=HubAction.DELETE_ORGANIZATION,
    ),
)
