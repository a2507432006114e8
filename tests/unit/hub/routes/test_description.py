"""The API matches its own description: schemathesis sends valid and invalid requests."""

import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import CheckFunction
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from schemathesis.transport.requests import SameHostRedirectsSession
from tests.faults.bad_values import Tried, path_values, whole
from tests.faults.request_bodies import BODIES
from tests.parts.hub import HytheServer
from tests.parts.process import ROOT
from tests.unit.hub.routes.people import PASSWORD, People

from hythe.hub.routes.application import ENDPOINTS

__all__ = ["whole"]

NOT_FULFILLED = frozenset(
    {
        "GET /git-refs",  # needs a source
        "GET /linked-accounts/{id}/refs",  # need an account at a forge
        "GET /linked-accounts/{id}/repositories",
        "GET /repositories/{namespace}/{name}/build-configuration/forge-webhook",
        "GET /repositories/{namespace}/{name}/tags/{tag}/log",  # need sizes of the log
        "GET /tag-log/consistency",
        "GET /tag-log/inclusion",
        "GET /repositories/{namespace}/{name}/transfer",  # nothing is offered
        "PATCH /admin/workers/{worker}",  # no worker has connected
        "POST /admin/queue/{build}/cancel",  # the repository's owner cancelled it
        "POST /admin/repositories/{namespace}/{name}/hand-over",  # the receiver does not exist
        "POST /admin/repositories/{namespace}/{name}/restore",  # it is not taken down
        "POST /organizations/{organization}/invitations",  # the user is a member
    }
)
"""Operations whose valid request is refused on the hub of this test."""


def _described(path: str) -> str:
    """Return the path of an endpoint without the kinds of its parameters."""
    return re.sub(r":\w+(?=\})", "", path)


def test_every_endpoint_is_described(as_: People) -> None:
    """Each row of the table is in the description, with its body and its reply."""
    described = as_("").get("/api/openapi.json").json()

    operations = {
        (method.upper(), path): operation
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    }
    assert set(operations) >= {(each.method, _described(each.path)) for each in ENDPOINTS}
    assert len({operation["operationId"] for operation in operations.values()}) == len(operations)
    sign_up = described["components"]["schemas"]["NewUser"]
    assert set(sign_up["required"]) == {"username", "email", "password"}


def test_unknown_fields_are_refused(as_: People) -> None:
    """Every request with a body names its unknown fields, except one whose body Docker Hub defines."""
    described = as_("").get("/api/openapi.json").json()
    bodies = [
        (method, path)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
        if "requestBody" in operation and not path.endswith("/docker-hub")
    ]
    assert len(bodies) > 15
    for method, path in bodies:
        reply = as_("curator").request(method, re.sub(r"\{\w+\}", "ann", path), json={"surprise": 1, "more": {"x": []}})

        assert reply.status_code == 422, (method, path)
        assert {"surprise", "more"} <= {error["field"] for error in reply.json()["errors"]}
    assert described["components"]["schemas"]["RepositoryChange"]["additionalProperties"] is False


@pytest.fixture
def session() -> Iterator[SameHostRedirectsSession]:
    """Keeps one connection, and does not search the environment for proxies, which takes as long as a request."""
    with SameHostRedirectsSession() as session:
        session.trust_env = False
        session.headers.clear()
        yield session


@pytest.mark.parametrize("whole", ["sqlite"], indirect=True)
def test_it_does_what_it_says(
    whole: Tried, rounds: Callable[[int, int], int], session: SameHostRedirectsSession
) -> None:
    """No request gets a 5xx, and every response matches the description.

    Requests and responses have the same form on each engine; tests/faults/test_bad_values_api.py tries both.
    Whether all described input is accepted is not checked: names have rules that a schema cannot express. The requests
    are the same in each run; `--all-rounds` sends more and different ones.
    """
    for operation in _operations(whole):

        @given(case=operation.as_strategy())
        @_examples(rounds, 10)
        def holds(case: schemathesis.Case[Any]) -> None:
            case.call_and_validate(session=session, auth=("zed", PASSWORD), excluded_checks=[positive_data_acceptance])

        holds()


@pytest.mark.parametrize("whole", ["sqlite"], indirect=True)
def test_responses_about_things_that_exist(
    whole: Tried, rounds: Callable[[int, int], int], session: SameHostRedirectsSession
) -> None:
    """An administrator, who owns something of each kind, gets responses that match the description.

    Each operation gets a valid request, and a few generated ones for the same address. Those that delete or rename are
    the last.
    """
    headers = {"Authorization": whole.client.headers["Authorization"]}
    unfulfilled = {
        f"{operation.method.upper()} {operation.path.removeprefix('/api/v1')}"
        for operation in sorted(_operations(whole), key=_disturbance)
        if not _fulfilled(operation, rounds, session=session, headers=headers)
    }
    needed = ("GET ", "POST /admin/", "PUT /admin/", "PATCH /admin/", "POST /organizations", "PATCH /organizations")
    assert {each for each in unfulfilled if each.startswith(needed)} <= NOT_FULFILLED


def _fulfilled(operation: Any, rounds: Callable[[int, int], int], **request: Any) -> bool:
    """Return whether the operation succeeds with a valid request; fail if a response does not match its description."""
    unchecked: list[CheckFunction] = [
        positive_data_acceptance,
        negative_data_rejection,
    ]  # both judge the generated path
    found = {name: unquote(value) for name, value in path_values(operation.path).items()}
    body = BODIES.get((operation.method.upper(), operation.path.removeprefix("/api/v1")))
    sent = {} if body is None else {"body": body, "media_type": "application/json"}
    valid = operation.Case(path_parameters=found, **sent)
    response = valid.call_and_validate(excluded_checks=unchecked, **request)

    @given(case=operation.as_strategy())
    @_examples(rounds, 2)
    def holds(case: schemathesis.Case[Any]) -> None:
        case.path_parameters = dict(found)
        case.call_and_validate(excluded_checks=unchecked, **request)

    holds()
    return bool(response.status_code < 300)


def _operations(hub: Tried) -> list[Any]:
    description = schemathesis.openapi.from_url(f"{hub.server.url}/api/openapi.json")
    found = list(description.get_all_operations())
    operations = [each.ok() for each in found if isinstance(each, Ok)]
    assert len(operations) == len(found), "the description has invalid operations"
    return operations


def _disturbance(operation: Any) -> tuple[bool, int, int]:
    """Sort reading before changing, deleting and renaming, and what lies deeper before what it lies in."""
    order = ("get", "post", "put", "patch", "delete").index(operation.method)
    return operation.path.endswith("/rename"), order, -operation.path.count("/")


def _examples(rounds: Callable[[int, int], int], few: int) -> settings:
    return settings(
        max_examples=rounds(few, 20 * few),
        derandomize=bool(rounds(1, 0)),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def test_description_is_json(server: HytheServer) -> None:
    """It is served without credentials."""
    assert httpx2.get(f"{server.url}/api/openapi.json").headers["Content-Type"] == "application/json"


def test_documentation_names_every_address() -> None:
    """The table in docs/api.md equals the table of endpoints."""
    rows = re.findall(r"^\| `([A-Z]+ /\S+)` \| (.+) \|$", (ROOT / "docs/api.md").read_text(), re.MULTILINE)

    short = [(each.method, _described(each.path).removeprefix("/api/v1"), each.summary) for each in ENDPOINTS]
    assert rows == [(f"{method} {path}", summary) for method, path, summary in short]
