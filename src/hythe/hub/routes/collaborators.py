"""Collaborators on repositories in the JSON API."""

from datetime import datetime
from http import HTTPStatus

import msgspec

from hythe.hub.access.actions import HubAction
from hythe.hub.organizations.organization import RoleWord
from hythe.hub.repositories.collaborator import Collaborator, Invitation
from hythe.hub.repositories.collaborators import CollaboratorChange, NewCollaborator
from hythe.hub.routes.endpoint import ApiRequest, Endpoint, Nothing, PageQuery, PageReply, page_reply
from hythe.hub.routes.repositories import repository_path
from hythe.hub.service import HubServices


class CollaboratorReply(msgspec.Struct, frozen=True):
    """A user with a role on one repository. ``pending``: they have been invited and have not accepted yet."""

    username: str
    role: RoleWord
    since: datetime
    pending: bool


def _reply(found: Collaborator) -> CollaboratorReply:
    return CollaboratorReply(found.name, found.role, found.since, found.pending)


async def _list(hub: HubServices, call: ApiRequest[Nothing, PageQuery]) -> PageReply[CollaboratorReply]:
    page = await hub.collaborators.list(call.actor, repository_path(call), call.query.paging())
    return page_reply(page, map(_reply, page.items))


async def _add(hub: HubServices, call: ApiRequest[NewCollaborator, Nothing]) -> CollaboratorReply:
    return _reply(await hub.collaborators.add(call.actor, repository_path(call), call.body))


async def _change(hub: HubServices, call: ApiRequest[CollaboratorChange, Nothing]) -> CollaboratorReply:
    name = call.path["username"]
    return _reply(await hub.collaborators.set_role(call.actor, repository_path(call), name, call.body))


async def _remove(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> None:
    repository, name = repository_path(call), call.path["username"]
    if name == call.actor.name:
        await hub.collaborators.leave(call.actor, repository)
    else:
        await hub.collaborators.remove(call.actor, repository, name)


async def _invitations(hub: HubServices, call: ApiRequest[Nothing, PageQuery]) -> PageReply[Invitation]:
    page = await hub.collaborators.invitations(call.actor, repository_path(call), call.query.paging())
    return page_reply(page, page.items)


_OF_REPOSITORY = "/api/v1/repositories/{namespace}/{name:path}"
_ALL = f"{_OF_REPOSITORY}/collaborators"
_ONE = f"{_ALL}/{{username}}"

ENDPOINTS = (
    Endpoint(
        "GET",
        _ALL,
        "List the collaborators of a repository",
        _list,
        query=PageQuery,
        reply=PageReply[CollaboratorReply],
        action=HubAction.VIEW_COLLABORATORS,
    ),
    Endpoint(
        "POST",
        _ALL,
        "Add a member of the organization as collaborator, or invite another user",
        _add,
        body=NewCollaborator,
        reply=CollaboratorReply,
        status=HTTPStatus.CREATED,
        action=HubAction.INVITE_COLLABORATOR,
    ),
    Endpoint(
        "PATCH",
        _ONE,
        "Change the role of a collaborator",
        _change,
        body=CollaboratorChange,
        reply=CollaboratorReply,
        action=HubAction.CHANGE_COLLABORATOR,
    ),
    Endpoint(
        "DELETE",
        _ONE,
        "Remove a collaborator or withdraw an invitation; with your own name, leave",
        _remove,
        status=HTTPStatus.NO_CONTENT,
        action=HubAction.REMOVE_COLLABORATOR,
    ),
    Endpoint(
        "GET",
        f"{_OF_REPOSITORY}/invitations",
        "List the pending invitations to a repository",
        _invitations,
        query=PageQuery,
        reply=PageReply[Invitation],
        action=HubAction.VIEW_COLLABORATORS,
    ),
)
