"""Teams in the JSON API."""

from datetime import datetime
from http import HTTPStatus

import msgspec

from hythe.hub.access.actions import HubAction
from hythe.hub.organizations.organization import RoleWord
from hythe.hub.organizations.team import Team, TeamGrant
from hythe.hub.organizations.teams import NewGrant, NewTeam, TeamChange
from hythe.hub.routes.endpoint import ApiRequest, Endpoint, Nothing, PageQuery, PageReply, page_reply
from hythe.hub.service import HubServices


class TeamReply(msgspec.Struct, frozen=True):
    """A team. ``applying``: a changed pattern is being applied to the organization's repositories."""

    name: str
    description: str
    created_at: datetime
    applying: bool


class TeamMemberReply(msgspec.Struct, frozen=True):
    """A member of a team."""

    username: str
    added_at: datetime


class GrantReply(msgspec.Struct, frozen=True):
    """The role of a team on ``repositories``: one of the organization, or those that match a pattern."""

    repositories: str
    role: RoleWord


class GrantQuery(msgspec.Struct, frozen=True):
    """The repository or pattern of a grant."""

    repositories: str


def _reply(team: Team) -> TeamReply:
    return TeamReply(team.name, team.description, team.created_at, team.applying)


def _grant(grant: TeamGrant) -> GrantReply:
    return GrantReply(grant.pattern or grant.repository, grant.role)


async def _list(hub: HubServices, call: ApiRequest[Nothing, PageQuery]) -> PageReply[TeamReply]:
    page = await hub.teams.list(call.actor, call.path["organization"], call.query.paging())
    return page_reply(page, map(_reply, page.items))


async def _create(hub: HubServices, call: ApiRequest[NewTeam, Nothing]) -> TeamReply:
    return _reply(await hub.teams.create(call.actor, call.path["organization"], call.body))


async def _get(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> TeamReply:
    return _reply(await hub.teams.get(call.actor, call.path["organization"], call.path["team"]))


async def _change(hub: HubServices, call: ApiRequest[TeamChange, Nothing]) -> TeamReply:
    organization, name = call.path["organization"], call.path["team"]
    return _reply(await hub.teams.change(call.actor, organization, name, call.body, call.unchanged))


async def _delete(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> None:
    await hub.teams.delete(call.actor, call.path["organization"], call.path["team"], call.unchanged)


async def _members(hub: HubServices, call: ApiRequest[Nothing, PageQuery]) -> PageReply[TeamMemberReply]:
    page = await hub.teams.members(call.actor, call.path["organization"], call.path["team"], call.query.paging())
    return page_reply(page, (TeamMemberReply(each.name, each.added_at) for each in page.items))


async def _add_member(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> None:
    path = call.path
    await hub.teams.add_member(call.actor, path["organization"], path["team"], path["username"])


async def _remove_member(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> None:
    path = call.path
    await hub.teams.remove_member(call.actor, path["organization"], path["team"], path["username"])


async def _grants(hub: HubServices, call: ApiRequest[Nothing, PageQuery]) -> PageReply[GrantReply]:
    page = await hub.teams.grants(call.actor, call.path["organization"], call.path["team"], call.query.paging())
    return page_reply(page, map(_grant, page.items))


async def _set_grant(hub: HubServices, call: ApiRequest[NewGrant, Nothing]) -> GrantReply:
    await hub.teams.grant(call.actor, call.path["organization"], call.path["team"], call.body)
    return GrantReply(call.body.repositories, call.body.role)


async def _revoke(hub: HubServices, call: ApiRequest[Nothing, GrantQuery]) -> None:
    await hub.teams.revoke(call.actor, call.path["organization"], call.path["team"], call.query.repositories)


_ALL = "/api/v1/organizations/{organization}/teams"
_ONE = f"{_ALL}/{{team}}"
_NO_CONTENT = HTTPStatus.NO_CONTENT

ENDPOINTS = (
    Endpoint(
        "GET",
        _ALL,
        "List the teams of an organization",
        _list,
        query=PageQuery,
        reply=PageReply[TeamReply],
        action=HubAction.VIEW_TEAMS,
    ),
    Endpoint(
        "POST",
        _ALL,
        "Create a team",
        _create,
        body=NewTeam,
        reply=TeamReply,
        status=HTTPStatus.CREATED,
        action=HubAction.CREATE_TEAM,
    ),
    Endpoint("GET", _ONE, "Get a team", _get, reply=TeamReply, action=HubAction.VIEW_TEAMS),
    Endpoint(
        "PATCH",
        _ONE,
        "Rename or describe a team",
        _change,
        body=TeamChange,
        reply=TeamReply,
        compares=True,
        action=HubAction.CHANGE_TEAM,
    ),
    Endpoint("DELETE", _ONE, "Delete a team", _delete, status=_NO_CONTENT, compares=True, action=HubAction.DELETE_TEAM),
    Endpoint(
        "GET",
        f"{_ONE}/members",
        "List the members of a team",
        _members,
        query=PageQuery,
        reply=PageReply[TeamMemberReply],
        action=HubAction.VIEW_TEAMS,
    ),
    Endpoint(
        "PUT",
        f"{_ONE}/members/{{username}}",
        "Add a member of the organization to a team",
        _add_member,
        status=_NO_CONTENT,
        action=HubAction.ADD_TEAM_MEMBER,
    ),
    Endpoint(
        "DELETE",
        f"{_ONE}/members/{{username}}",
        "Remove a member from a team",
        _remove_member,
        status=_NO_CONTENT,
        action=HubAction.REMOVE_TEAM_MEMBER,
    ),
    Endpoint(
        "GET",
        f"{_ONE}/grants",
        "List the roles of a team on repositories",
        _grants,
        query=PageQuery,
        reply=PageReply[GrantReply],
        action=HubAction.VIEW_TEAMS,
    ),
    Endpoint(
        "PUT",
        f"{_ONE}/grants",
        "Give a team a role on a repository or pattern",
        _set_grant,
        body=NewGrant,
        reply=GrantReply,
        action=HubAction.GRANT_TEAM,
    ),
    Endpoint(
        "DELETE",
        f"{_ONE}/grants",
        "Take a role on a repository or pattern from a team",
        _revoke,
        query=GrantQuery,
        status=_NO_CONTENT,
        action=HubAction.REVOKE_TEAM_GRANT,
    ),
)
