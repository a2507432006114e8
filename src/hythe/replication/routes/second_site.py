"""The rows that a second site takes over. Only who has the installation's key gets them."""

from http import HTTPStatus

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from hythe.database import Database
from hythe.hub.access.route_rules import RouteRule
from hythe.hub.errors import HubError, NotFound
from hythe.hub.routes.declared_route import DeclaredRoute
from hythe.hub.routes.problem_details import problem_response
from hythe.hub.sign_in.credentials import CredentialService
from hythe.replication.follower import ROWS_PATH, etag_of
from hythe.replication.sql.second_site import read_rows


def routes(database: Database, credentials: CredentialService) -> list[BaseRoute]:
    """Return the route."""

    async def rows(request: Request) -> Response:
        try:
            actor = await credentials.by_header(request.headers.get("authorization"))
            if not actor.second_site:
                raise NotFound("there is nothing at this address")
        except HubError as error:
            return problem_response(error)
        content = msgspec.msgpack.encode(await read_rows(database))
        etag = etag_of(content)
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"ETag": etag})
        return Response(content, media_type="application/msgpack", headers={"ETag": etag, "Cache-Control": "no-store"})

    return [DeclaredRoute(ROWS_PATH, rows, {"GET": (RouteRule.INSTALLATION_KEY,)})]
