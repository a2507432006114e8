"""A page as a value: its address, its handler, and what it does as the table of actions names it."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TypeAlias

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from hythe.database.changes import tracked_reads
from hythe.database.maintenance import UnderMaintenance
from hythe.hub.access.actions import HubAction
from hythe.hub.access.table import TABLE
from hythe.hub.errors import Refused, SignInNeeded
from hythe.hub.roles import HubRole
from hythe.hub.routes.declared_route import DeclaredRoute
from hythe.web.routes.page_request import PageRequest
from hythe.web.routes.site import Site

Handler: TypeAlias = Callable[[PageRequest], Awaitable[Response]]

MAX_ROW_ID = 2**63 - 1
"""The largest row ID that a database can store."""


@dataclass(frozen=True, slots=True)
class PageRoute:
    """A page. ``get`` is what opening it does, ``post`` what submitting its form does; without one: 405.

    A form that does several things has one action for each value of its field ``action``; ``""`` is any other value.
    """

    path: str
    handler: Handler
    get: HubAction | None = None
    post: HubAction | Mapping[str, HubAction] | None = None

    @property
    def submits(self) -> Mapping[str, HubAction]:
        """What submitting the form does, by the value of its field ``action``; empty: there is no form."""
        if isinstance(self.post, HubAction):
            return {"": self.post}
        return self.post or {}

    @property
    def actions(self) -> Mapping[str, tuple[HubAction, ...]]:
        """What each method does."""
        done = {"GET": (self.get,) if self.get else (), "POST": tuple(self.submits.values())}
        return {method: actions for method, actions in done.items() if actions}

    def route(self, site: Site) -> DeclaredRoute:
        """Return the route; ``routes/errors.py`` turns exceptions of the handler into pages.

        Who has to sign in first, or to be an administrator, is decided here, and everything else by the services.
        Only those who may open a page submit its form.
        """
        actions = self.actions
        first = {"GET": actions.get("GET", ()), "POST": (*actions.get("GET", ()), *actions.get("POST", ()))}

        async def endpoint(request: Request) -> Response:
            await site.templates.prepare()
            # A page asks for the same access context several times; what a form does may take long.
            with nullcontext() if request.method == "POST" else tracked_reads():
                page = await PageRequest.authenticate(site, request)
                request.state.page = page
                if request.method == "POST" and site.hub.maintenance.read_only:
                    raise UnderMaintenance
                if any(map(_cannot_exist, request.path_params.values())):
                    raise HTTPException(404)
                for action in first["POST" if request.method == "POST" else "GET"]:
                    await _admit(site, page, action)
                return await self.handler(page)

        return DeclaredRoute(self.path, endpoint, actions, name=self.handler.__name__)


async def _admit(site: Site, page: PageRequest, action: HubAction) -> None:
    """Check that the user may reach the handler; pages of administrators do not exist for others."""
    try:
        await site.hub.access.admit(page.actor, action)
    except Refused as error:
        raise HTTPException(404) from error
    except SignInNeeded as error:
        if site.hub.access.closed or not isinstance(TABLE[action].needs, HubRole):
            raise
        raise HTTPException(404) from error


def _cannot_exist(part: object) -> bool:
    """Whether no database can store this part of an address."""
    return part > MAX_ROW_ID if isinstance(part, int) else "\0" in str(part)
