"""The API matches its own description: schemathesis sends valid and invalid requests."""

import re
from collections.abc import Callable

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance
from tests.parts.hub import HytheServer
from tests.parts.process import ROOT
from tests.unit.hub.routes.people import PASSWORD, People

from hythe.hub.routes.application import ENDPOINTS


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


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
def test_it_does_what_it_says(server: HytheServer, rounds: Callable[[int, int], int]) -> None:
    """No request gets a 5xx, and every response matches the description.

    Requests and responses have the same form on each engine; tests/faults/test_bad_values_api.py tries both.
    Whether all described input is accepted is not checked: names have rules that a schema cannot express. The requests
    are the
    same in each run; `--all-rounds` sends more and different ones.
    """
    always_the_same = bool(rounds(1, 0))
    description = schemathesis.openapi.from_url(f"{server.url}/api/openapi.json")
    for found in description.get_all_operations():
        operation = found.ok()

        @given(case=operation.as_strategy())
        @settings(
            max_examples=rounds(10, 200),
            derandomize=always_the_same,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        def holds(case: schemathesis.Case) -> None:
            case.call_and_validate(auth=("ann", PASSWORD), excluded_checks=[positive_data_acceptance])

        holds()


def test_description_is_json(server: HytheServer) -> None:
    """It is served without credentials."""
    assert httpx2.get(f"{server.url}/api/openapi.json").headers["Content-Type"] == "application/json"


def test_documentation_names_every_address() -> None:
    """The table in docs/api.md equals the table of endpoints."""
    rows = re.findall(r"^\| `([A-Z]+ /\S+)` \| (.+) \|$", (ROOT / "docs/api.md").read_text(), re.MULTILINE)

    short = [(each.method, _described(each.path).removeprefix("/api/v1"), each.summary) for each in ENDPOINTS]
    assert rows == [(f"{method} {path}", summary) for method, path, summary in short]
