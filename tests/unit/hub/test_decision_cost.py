"""An access decision costs one query, however the actor signed in, and none until something of it changes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Executable
from tests.unit.hub.services import Services
from tests.unit.hub.test_credentials import basic

from hythe.database.postgresql import PostgreSQLSession
from hythe.database.sqlite import SQLiteSession
from hythe.hub.accounts.user import Visibility
from hythe.hub.actor import ANONYMOUS, HubActor, Right
from hythe.hub.organizations.organizations import NewOrganization
from hythe.hub.repositories.repositories import NewRepository
from hythe.hub.tokens.personal_tokens import NewPersonalToken
from hythe.hub.tokens.tokens import TokenRequest
from hythe.oci.scope import Scope
from hythe.registry.access import Action

APP, PUBLIC = "acme/app", "acme/public"

Work = Callable[[], Coroutine[Any, Any, object]]


@pytest.fixture
def statements(services: Services, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that sessions run from now on."""
    seen: list[str] = []
    kind = SQLiteSession if services.database.dialect == "sqlite" else PostgreSQLSession
    for name in ("row", "rows", "run"):
        monkeypatch.setattr(kind, name, _noted(getattr(kind, name), seen))
    return seen


def _noted(method: Callable[..., Awaitable[Any]], seen: list[str]) -> Callable[..., Awaitable[Any]]:
    async def noted(session: object, statement: Executable, *rest: Any) -> Any:
        seen.append(str(statement))
        return await method(session, statement, *rest)

    return noted


@pytest.fixture
def actors(services: Services, ann: HubActor, ben: HubActor) -> dict[str, HubActor]:
    """Ann owns acme: with her password, a personal token, and the access token of the token server for each."""
    services.run(services.hub.organizations.create(ann, NewOrganization("acme")))
    for name, visibility in (("app", Visibility.PRIVATE), ("public", Visibility.PUBLIC)):
        services.run(services.hub.repositories.create(ann, NewRepository("acme", name, visibility)))
    new = NewPersonalToken("ci", (Right.READ, Right.WRITE), repositories=("acme/*",))
    secret, _ = services.run(services.hub.personal_tokens.create(ann, new))
    personal = services.run(services.hub.credentials.by_header(basic("ann", secret)))
    found = {"password": ann, "personal token": personal}
    for name in tuple(found):
        request = TokenRequest(scopes=(Scope.repository(APP, "pull", "push"),))
        issued = services.run(services.hub.tokens.issue(found[name], request))
        found[f"access token by {name}"] = services.run(services.hub.credentials.by_token(issued.token))
    return found | {"stranger": ben, "anonymous": ANONYMOUS}


def _costs(services: Services, ann: HubActor, statements: list[str], work: Work) -> tuple[int, int]:
    """Return how many statements the work runs at first, and the second time, after pushes to another repository."""
    services.database.changes.forget_all()
    statements.clear()
    services.run(work())
    first = len(statements)
    for content in (b"{}", b"{ }"):
        services.push(ann, "ann/other", content=content)
    statements.clear()
    services.run(work())
    return first, len(statements)


def test_a_decision_costs_one_query(
    services: Services, ann: HubActor, actors: dict[str, HubActor], statements: list[str]
) -> None:
    """A push and a pull, in an organization and of a public repository, with a password, a token or neither."""
    access = services.foundation.access
    for name, actor in actors.items():
        owns = actor.name == ann.name
        repository, actions = (APP, (Action.PULL, Action.PUSH)) if owns else (PUBLIC, (Action.PULL,))
        for action in actions:
            work = partial(access.require, actor, repository, action)
            assert _costs(services, ann, statements, work) == (1, 0), (name, action, statements)


def test_an_access_token_costs_one_query(
    services: Services, ann: HubActor, actors: dict[str, HubActor], statements: list[str]
) -> None:
    """What the token server grants of one scope, to a user, a personal token, and a client that is not signed in."""
    request = TokenRequest(scopes=(Scope.repository(PUBLIC, "pull", "push"),))
    for name in ("password", "personal token", "stranger", "anonymous"):
        work = partial(services.hub.tokens.issue, actors[name], request)
        assert _costs(services, ann, statements, work) == (1, 0), (name, statements)
