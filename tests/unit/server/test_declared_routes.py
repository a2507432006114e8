"""Every route of the hub says what it does, and the tests of the table of actions send requests to it."""

import asyncio
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from starlette.routing import BaseRoute, Mount
from tests.parts.process import ROOT
from tests.unit.hub.routes.walked import API, MACHINES

from hythe.hub.access.document import tables
from hythe.hub.access.route_rules import RouteRule
from hythe.hub.access.table import OF_REGISTRY, TABLE
from hythe.hub.routes.application import NothingElse
from hythe.hub.routes.declared_route import Declared, DeclaredRoute
from hythe.registry.access import Action
from hythe.server.hub import HubApplication, open_hub
from hythe.settings import Settings
from hythe.web.routes.application import PAGES


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> list[BaseRoute]:
    """The routes of the application that ``hythe serve`` serves, without the applications that they are mounted in."""

    async def made(data: Path) -> list[BaseRoute]:
        async with open_hub(Settings(data=str(data))) as services:
            return list(_flattened(HubApplication(services).routes))

    return asyncio.run(made(tmp_path_factory.mktemp("hub")))


def _flattened(routes: Iterable[BaseRoute]) -> Iterator[BaseRoute]:
    """Yield the routes, and instead of a mounted application its own."""
    for route in routes:
        if isinstance(route, Mount):
            assert route.routes, f"no routes are known of what is mounted at {route.path!r}"
            yield from _flattened(route.routes)
        else:
            yield route


def test_every_route_declares_what_it_does(routes: list[BaseRoute]) -> None:
    """Each method of each route has an action with a rule in the table, or a named rule for clients that are no users.

    The others respond to any address that is left, and only with 404.
    """
    declared = [route for route in routes if isinstance(route, DeclaredRoute)]
    others = [route for route in routes if not isinstance(route, DeclaredRoute)]

    assert [route for route in others if not isinstance(route, NothingElse)] == []
    assert len(declared) > 200
    for route in declared:
        assert route.actions, route.path
        for method, actions in route.actions.items():
            assert actions, (method, route.path)
            assert all(action in TABLE or isinstance(action, RouteRule) for action in actions), (method, route.path)
        assert set(route.methods or route.actions) - {"HEAD"} == set(route.actions), route.path


def test_requests_are_sent_to_every_route_as_every_kind_of_actor(routes: list[BaseRoute]) -> None:
    """The tables that those tests go through are together the routes of the application, with the same actions."""
    there = {
        (method, route.path): set(actions)
        for route in routes
        if isinstance(route, DeclaredRoute)
        for method, actions in route.actions.items()
    }
    tried: dict[tuple[str, str], set[Declared]] = {
        **{(each.method, each.path): {each.action} for each in API},
        **{(method, path): {declared} for method, path, declared in MACHINES},
        **{(method, page.path): set(actions) for page in PAGES for method, actions in page.actions.items()},
    }

    assert there == tried
    assert set(OF_REGISTRY) == set(Action)


def test_the_documented_table_is_the_one_that_decides() -> None:
    """docs/roles.md ends with the tables that scripts/roles writes."""
    assert (ROOT / "docs/roles.md").read_text().endswith(tables()), "run scripts/roles"
