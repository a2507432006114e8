"""Robots of namespaces in the JSON API."""

from datetime import datetime
from http import HTTPStatus

import msgspec

from hythe.hub.access.actions import HubAction
from hythe.hub.actor import Right
from hythe.hub.routes.endpoint import ApiRequest, Endpoint, Nothing
from hythe.hub.service import HubServices
from hythe.hub.tokens.personal_token import PersonalToken
from hythe.hub.tokens.robots import NewRobot, RobotChange, robot_name
from hythe.hub.tokens.token_terms import Rotation


class RobotReply(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A robot. It logs in as ``username`` with its token, which only the response that creates or rotates it contains.

    ``repositories`` are names, or patterns of them. ``previous_expires_at``: until when the token before the last
    rotation works.
    """

    name: str
    username: str
    rights: tuple[Right, ...]
    repositories: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None
    used_from: str = ""
    previous_expires_at: datetime | None = None
    token: str = ""


class RobotsReply(msgspec.Struct, frozen=True):
    """All robots of the namespace, newest first."""

    items: tuple[RobotReply, ...]


def _shown(namespace: str, robot: PersonalToken, secret: str = "") -> RobotReply:
    return RobotReply(
        name=robot.name,
        username=robot_name(namespace, robot.name),
        rights=robot.rights,
        repositories=robot.repositories or (),
        created_at=robot.created_at,
        expires_at=robot.expires_at,
        used_at=robot.used_at,
        used_from=robot.used_from,
        previous_expires_at=robot.previous_expires_at,
        token=secret,
    )


async def _create(hub: HubServices, call: ApiRequest[NewRobot, Nothing]) -> RobotReply:
    namespace = call.path["namespace"]
    secret, robot = await hub.robots.create(call.actor, namespace, call.body)
    return _shown(namespace, robot, secret)


async def _list(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> RobotsReply:
    namespace = call.path["namespace"]
    return RobotsReply(tuple(_shown(namespace, robot) for robot in await hub.robots.list(call.actor, namespace)))


async def _get(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> RobotReply:
    namespace = call.path["namespace"]
    return _shown(namespace, await hub.robots.get(call.actor, namespace, call.path["robot"]))


async def _change(hub: HubServices, call: ApiRequest[RobotChange, Nothing]) -> RobotReply:
    namespace = call.path["namespace"]
    return _shown(namespace, await hub.robots.change(call.actor, namespace, call.path["robot"], call.body))


async def _rotate(hub: HubServices, call: ApiRequest[Rotation, Nothing]) -> RobotReply:
    namespace = call.path["namespace"]
    secret, robot = await hub.robots.rotate(call.actor, namespace, call.path["robot"], call.body)
    return _shown(namespace, robot, secret)


async def _delete(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> None:
    await hub.robots.delete(call.actor, call.path["namespace"], call.path["robot"])


_ALL = "/api/v1/namespaces/{namespace}/robots"
_ONE = f"{_ALL}/{{robot}}"

ENDPOINTS = (
    Endpoint(
        "POST",
        _ALL,
        "Create a robot",
        _create,
        action=HubAction.CREATE_ROBOT,
        body=NewRobot,
        reply=RobotReply,
        status=HTTPStatus.CREATED,
    ),
    Endpoint("GET", _ALL, "List the robots of a namespace", _list, action=HubAction.VIEW_ROBOTS, reply=RobotsReply),
    Endpoint("GET", _ONE, "Get a robot", _get, action=HubAction.VIEW_ROBOTS, reply=RobotReply),
    Endpoint(
        "PATCH",
        _ONE,
        "Change the name or the limits of a robot",
        _change,
        action=HubAction.CHANGE_ROBOT,
        body=RobotChange,
        reply=RobotReply,
    ),
    Endpoint(
        "POST",
        f"{_ONE}/rotate",
        "Give a robot a new token",
        _rotate,
        action=HubAction.ROTATE_ROBOT,
        body=Rotation,
        reply=RobotReply,
    ),
    Endpoint("DELETE", _ONE, "Delete a robot", _delete, action=HubAction.DELETE_ROBOT, status=HTTPStatus.NO_CONTENT),
)
