"""Values of build arguments: who may write to the repository sees them, and no one else, wherever builds are shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.builds.hand_worker import BY_HAND, HandWorker
from tests.builds.services import PASSWORD, Services, start_services
from tests.security.registry_client import RegistryClient, basic, bearer

from hythe.provenance.statement import BuildFacts, provenance

__all__ = ["start_services"]

VALUE = "s3cr3t-value-of-an-argument"
IMPORTED = {
    "provider": "github",
    "owner": "octo",
    "repository": "moved",
    "envvars": [{"name": "API_KEY", "value": VALUE}, {"name": "EMPTY", "value": ""}],
    "build_settings": [{"source_type": "Branch", "source_name": "main", "tag": "latest"}],
}


@pytest.fixture(scope="module")
def services(start_services: Callable[..., Services]) -> Services:
    """A hub with a public repository of alice that has a build with an argument, and bob."""
    started = start_services({**BY_HAND})
    started.hub.create_user("bob", PASSWORD)
    rule = {"source": "main", "arguments": {"TOKEN": VALUE}}
    path = started.configure("shown", started.source("shown"), rule)
    started.call("POST", f"{path}/builds", {"source_name": "main"})
    worker = HandWorker(started.hub.url)
    job = worker.claim()
    assert job is not None
    assert job["spec"]["arguments"] == {"TOKEN": VALUE}
    worker.finish(job, digest="sha256:" + "0" * 64)
    return started


PLACES = (
    "/api/v1/repositories/alice/shown/build-configuration",
    "/api/v1/repositories/alice/shown/builds",
    "/api/v1/repositories/alice/shown/builds/1",
    "/api/v1/repositories/alice/shown/builds/1/log",
    "/api/v1/builds",
    "/v2/repositories/alice/shown/",
    "/alice/shown",
    "/alice/shown/-/builds",
    "/alice/shown/-/builds/1",
)


def tokens(client: RegistryClient, *rights: str) -> dict[str, str]:
    """The header of a personal token of alice with these rights."""
    body = {"name": "limited", "rights": rights}
    return bearer(client.send("POST", "/api/v1/tokens", basic("alice", PASSWORD), json=body).json()["token"])


@pytest.mark.parametrize("reader", ["anonymous", "bob", "a push token of alice", "an account token of alice"])
def test_others_see_names_only(services: Services, reader: str) -> None:
    """No API and no page has the value for anyone who may not write."""
    client = RegistryClient(services.hub.url)
    headers: dict[str, str] = {}
    match reader:
        case "bob":
            headers = basic("bob", PASSWORD)
        case "a push token of alice":
            headers = tokens(client, "repo:read", "repo:write")
        case "an account token of alice":
            headers = tokens(client, "repo:read", "account")

    for place in PLACES:
        answer = client.send("GET", place, headers)
        assert VALUE not in answer.text, place
    shown = client.send("GET", PLACES[0], headers).json()["rules"][0]["arguments"]
    built = client.send("GET", PLACES[2], headers).json()["rule"]["arguments"]
    assert shown == built == {"TOKEN": "(hidden)"}


def test_writers_see_values(services: Services) -> None:
    """Alice sees them with her password, and with a token that has the right to builds."""
    client = RegistryClient(services.hub.url)
    for headers in (basic("alice", PASSWORD), tokens(client, "repo:read", "builds")):
        for place, key in ((PLACES[0], "rules"), (PLACES[2], "rule")):
            found: Any = client.send("GET", place, headers).json()[key]
            rule = found[0] if key == "rules" else found
            assert rule["arguments"] == {"TOKEN": VALUE}


def test_a_retry_builds_with_the_values(services: Services) -> None:
    """What is hidden from readers still reaches the build."""
    services.call("POST", "/api/v1/repositories/alice/shown/builds/1/retry")

    job = HandWorker(services.hub.url).claim()

    assert job is not None
    assert job["spec"]["arguments"] == {"TOKEN": VALUE}
    HandWorker(services.hub.url).finish(job)


def test_a_hidden_value_is_not_saved_as_a_value(services: Services) -> None:
    """A client that sends back what a reader sees gets an error, and the value stays."""
    rules = [{"source": "main", "arguments": {"TOKEN": "(hidden)"}}]

    status, answer = services.try_call("PATCH", PLACES[0], {"rules": rules})

    assert (status, "could not see" in answer["detail"]) == (422, True)
    assert services.call("GET", PLACES[0])["rules"][0]["arguments"] == {"TOKEN": VALUE}


def test_imported_variables_become_secrets(services: Services) -> None:
    """Docker Hub's environment variables are secrets of the build: their names are shown to alice, values to no one."""
    path = "/api/v1/repositories/alice/moved/build-configuration"
    services.call("POST", f"{path}/docker-hub", IMPORTED)

    assert services.call("GET", f"{path}/secrets") == {"names": ["API_KEY"]}
    assert VALUE not in str(services.call("GET", path))
    services.call("POST", "/api/v1/repositories/alice/moved/builds", {"source_name": "main"})
    job = HandWorker(services.hub.url).claim()
    assert job is not None
    assert (job["secrets"], job["spec"]["arguments"]) == ({"API_KEY": VALUE}, {})


def test_provenance_has_names_only() -> None:
    """Everyone can read the provenance of a public image."""
    texts = dict.fromkeys(BuildFacts.__struct_fields__, "")
    lists: dict[str, Any] = {"platforms": (), "tags": (), "hooks": (), "number": 1}
    lists |= {"bases": {}, "layers": {}, "repositories": {}}
    facts = BuildFacts(**{**texts, **lists, "arguments": ["TOKEN"]})

    assert provenance(facts)["buildDefinition"]["externalParameters"]["arguments"] == ["TOKEN"]
