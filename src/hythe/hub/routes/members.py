"""Members of organizations in the JSON API."""

from datetime import datetime
from http import HTTPStatus

import msgspec

from hythe.hub.access.actions import HubAction
from hythe.hub.organizations.members import MemberChange
from hythe.hub.organizations.organization import Member, MemberWord
from hythe.hub.roles import OrganizationRole
from hythe.hub.routes.endpoint import ApiRequest, Endpoint, Nothing, PageQuery, PageReply, page_reply
from hythe.hub.service import HubServices


class MemberReply(msgspec.Struct, frozen=True, omit_defaults=True):
    """A member of an organization. Only owners see whether they have a second factor."""

    username: str
    role: MemberWord
    joined_at: datetime
    second_factor: bool | msgspec.UnsetType = msgspec.UNSET


def _shown(member: Member, *, to_owner: bool) -> MemberReply:
    factor = member.second_factor if to_owner else msgspec.UNSET
    return MemberReply(member.name, member.role, member.joined_at, factor)


async def _list(hub: HubServices, call: ApiRequest[Nothing, PageQuery]) -> PageReply[MemberReply]:
    page = await hub.members.list(call.actor, call.path["organization"], call.query.paging())
    role = await hub.organizations.role(call.actor, call.path["organization"])
    return page_reply(page, (_shown(member, to_owner=role is OrganizationRole.OWNER) for member in page.items))


async def _change(hub: HubServices, call: ApiRequest[MemberChange, Nothing]) -> MemberReply:
    path = call.path
    return _shown(
        await hub.members.set_role(call.actor, path["organization"], path["username"], call.body), to_owner=True
    )


async def _appoint(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> MemberReply:
    path = call.path
    return _shown(await hub.members.appoint_owner(call.actor, path["organization"], path["username"]), to_owner=False)


async def _remove(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> None:
    await hub.members.remove(call.actor, call.path["organization"], call.path["username"])


async def _leave(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> None:
    await hub.members.leave(call.actor, call.path["organization"])


_ALL = "/api/v1/organizations/{organization}/members"
_ONE = f"{_ALL}/{{username}}"

ENDPOINTS = (
    Endpoint(
        "GET",
        _ALL,
        "List the members of an organization",
        _list,
        query=PageQuery,
        reply=PageReply[MemberReply],
        action=HubAction.VIEW_MEMBERS,
    ),
    Endpoint(
        "DELETE",
        "/api/v1/users/me/organizations/{organization}",
        "Leave an organization",
        _leave,
        status=HTTPStatus.NO_CONTENT,
        action=HubAction.LEAVE_ORGANIZATION,
    ),
    Endpoint(
        "PATCH",
        _ONE,
        "Change the role of a member",
        _change,
        body=MemberChange,
        reply=MemberReply,
        action=HubAction.CHANGE_MEMBER,
    ),
    Endpoint(
        "PUT",
        "/api/v1/admin/accounts/{organization}/owners/{username}",
        "Make a user an owner of an organization (administrators only)",
        _appoint,
        reply=MemberReply,
        action=HubAction.APPOINT_OWNER,
    ),
    Endpoint("DELETE", _ONE, "Remove a member", _remove, status=HTTPStatus.NO_CONTENT, action=HubAction.REMOVE_MEMBER),
)
