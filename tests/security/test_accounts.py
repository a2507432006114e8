"""Accounts that do harm: blocked and deleted ones stop at once on every server, and no one creates hundreds of them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.error import HTTPError

import pytest
from tests.builds.hand_worker import BY_HAND, HandWorker
from tests.builds.services import Services, start_services
from tests.parts.hub import HytheServer
from tests.security.registry_client import PASSWORD, RegistryClient, basic, bearer

__all__ = ["start_services"]

SECRET_KEY = base64.b64encode(b"k" * 32).decode()
QUIET = {"HYTHE_BUILDS_WORKERS": "0"}
SCOPES = ("repository:ann/app:pull,push,delete", "repository:ann/secret:pull", "registry:catalog:*")


@dataclass
class Pair:
    """Two servers of one hub: SQLite has one, and then both are the same."""

    first: HytheServer
    second: HytheServer

    @property
    def clients(self) -> tuple[RegistryClient, RegistryClient]:
        """A client of each."""
        return RegistryClient(self.first.url), RegistryClient(self.second.url)


@pytest.fixture
def pair(request: pytest.FixtureRequest, start_hub: Callable[..., HytheServer]) -> Pair:
    """A hub with an administrator and ann, who has a public image and a private repository.

    The parameter "postgresql" starts two servers on one database; the services' own tests run on both databases.
    """
    env = {**QUIET, "HYTHE_SECRET_KEY": SECRET_KEY}
    if getattr(request, "param", "sqlite") == "sqlite":
        first = second = start_hub(env=env)
    else:
        url = request.getfixturevalue("postgresql_url")
        first = start_hub(database_url=url, env=env)
        second = start_hub(data=first.data, database_url=url, env=env)
    first.create_user("curator", PASSWORD, admin=True)
    first.create_user("ann", PASSWORD)
    client = RegistryClient(first.url)
    assert client.push("ann/app", basic("ann")) == 201
    secret = {"namespace": "ann", "name": "secret", "visibility": "private"}
    assert client.status("POST", "/api/v1/repositories", basic("ann"), json=secret) == 201
    return Pair(first, second)


def ways_in(client: RegistryClient, credentials: dict[str, dict[str, str]]) -> dict[str, set[int]]:
    """Return the statuses that each credential gets wherever it would reach something of ann's."""
    return {
        kind: {
            client.status("GET", "/v2/", header),
            client.status("GET", "/v2/_catalog", header),
            client.status("GET", "/v2/ann/secret/tags/list", header),
            client.push("ann/app", header, "again"),
            client.status("GET", "/api/v1/repositories/ann/secret", header),
        }
        for kind, header in credentials.items()
    }


@pytest.mark.parametrize("pair", ["sqlite", "postgresql"], indirect=True)
def test_a_blocked_account_stops_on_every_server(pair: Pair) -> None:
    """Password, personal token, session and access tokens of all of them reach nothing; strangers still pull."""
    one, other = pair.clients
    _, secret = one.personal_token("ann")
    refresh = one.access_token(basic("ann"), offline=True)["refresh_token"]
    credentials = {
        "password": basic("ann"),
        "personal token": bearer(secret),
        "personal token by Basic": basic("ann", secret),
        "session": bearer(one.session("ann")),
        "access token": bearer(one.access_token(basic("ann"), *SCOPES)["token"]),
        "access token of a personal token": bearer(one.access_token(basic("ann", secret), *SCOPES)["token"]),
    }
    before = ways_in(other, credentials)
    assert all(401 not in statuses and 403 not in statuses for statuses in before.values()), before

    pair.first.admin("block-user", "ann")

    for client in pair.clients:
        for kind, statuses in ways_in(client, credentials).items():
            assert statuses <= {401, 403, 404}, (kind, statuses)
        renewed = {"grant_type": "refresh_token", "refresh_token": refresh, "service": "hub"}
        assert client.status("POST", "/token", data=renewed) == 401
        refused = client.send("GET", "/token", basic("ann"))
        assert (refused.status_code, refused.json()["details"]) == (
            401,
            "the account ann is blocked: ask an administrator",
        )
        assert client.status("GET", "/v2/ann/app/manifests/latest", basic("curator")) == 200
        anonymous = client.access_token({}, "repository:ann/app:pull")["token"]
        assert client.status("GET", "/v2/ann/app/manifests/latest", bearer(anonymous)) == 200

    pair.second.admin("unblock-user", "ann")
    assert one.push("ann/app", basic("ann", secret)) == 201


def test_an_access_token_ends_when_its_personal_token_is_revoked(pair: Pair) -> None:
    """Also on the other server, which had just accepted it."""
    one, other = pair.clients
    number, secret = one.personal_token("ann")
    access = bearer(one.access_token(basic("ann", secret), *SCOPES)["token"])
    for client in pair.clients:
        assert client.status("GET", "/v2/ann/app/manifests/latest", access) == 200
        assert client.status("GET", "/v2/ann/secret/tags/list", access) != 401

    assert one.status("DELETE", f"/api/v1/tokens/{number}", basic("ann")) == 204

    for client in (other, one):
        refused = client.send("GET", "/v2/ann/app/manifests/latest", access)
        assert refused.status_code == 401
        assert "was revoked" in refused.json()["errors"][0]["message"]


def test_an_account_is_deleted_by_the_api(pair: Pair) -> None:
    """Only an administrator, only with the name; what goes is said before, and the name stays reserved."""
    one, other = pair.clients
    path = "/api/v1/users/ann"
    assert one.status("DELETE", f"{path}?confirm=ann", basic("ann")) == 403
    assert one.status("DELETE", f"{path}?confirm=ann") == 401
    assert one.status("POST", f"{path}/block", basic("ann")) == 403
    assert one.status("DELETE", "/api/v1/users/curator?confirm=curator", basic("curator")) == 403
    assert one.send("GET", f"{path}/contents", basic("curator")).json() == {
        "repositories": 2,
        "tags": 1,
        "bytes": one.send("GET", f"{path}/contents", basic("curator")).json()["bytes"],
        "builds": 0,
        "webhooks": 0,
        "personal_tokens": 0,
        "linked_accounts": 0,
    }
    unsure = one.send("DELETE", path, basic("curator"))
    assert unsure.status_code == 422
    assert "this deletes 2 repositories with 1 tag" in unsure.json()["errors"][0]["detail"]

    done = one.send("DELETE", f"{path}?confirm=ann", basic("curator"))

    assert (done.status_code, done.json()["deleted"]["repositories"]) == (200, 2)
    for client in (other, one):
        assert client.status("GET", "/v2/ann/app/manifests/latest", basic("curator")) in (401, 404)
        stranger = {"username": "ann", "email": "stranger@example.com", "password": PASSWORD}
        assert client.status("POST", "/api/v1/users", json=stranger) == 409


def test_the_command_deletes_only_when_asked(hub: HytheServer) -> None:
    """Without a terminal and without --yes nothing is deleted; the last administrator stays."""
    hub.create_user("curator", PASSWORD, admin=True)
    hub.create_user("ann", PASSWORD)

    refused = hub.try_admin("delete-user", "ann")
    last = hub.try_admin("delete-user", "curator", "--yes")
    done = hub.admin("delete-user", "ann", "--yes")

    assert (refused.returncode, "use --yes" in refused.stderr) == (2, True)
    assert "ann has 0 repositories" in refused.stdout
    assert "curator is the last administrator" in last.stderr
    assert "deleted ann" in done
    assert "ann" not in hub.admin("list-users")


def test_builds_of_a_blocked_account_end(start_services: Callable[..., Services]) -> None:
    """Running and queued builds are cancelled, their tokens reach nothing, and no trigger starts another."""
    services = start_services({**BY_HAND})
    client, worker = RegistryClient(services.hub.url), HandWorker(services.hub.url)
    path = services.configure("built", services.source("built"), {"source": "main"}, {"source": "other"})
    services.call("POST", f"{path}/builds", {"source_name": "main"})
    services.call("POST", f"{path}/builds", {"source_name": "other"})
    trigger = services.call("GET", f"{path}/build-configuration/trigger")["path"]
    job = worker.claim()
    assert job is not None
    token = bearer(worker.send(job, "token", [])["token"])
    assert client.status("POST", "/v2/alice/built/blobs/uploads/", token) == 202

    services.hub.admin("block-user", "alice")

    assert client.status("POST", "/v2/alice/built/blobs/uploads/", token) in (401, 403)
    assert client.push("alice/built", token) in (401, 403)
    with pytest.raises(HTTPError, match="409"):
        worker.send(job, "progress", {"steps": []})
    status, answer = services.try_call("POST", trigger, {}, user="")
    assert (status, answer["detail"]) == (409, "the account alice is blocked")
    assert worker.claim() is None
    services.hub.admin("unblock-user", "alice")
    builds = services.call("GET", f"{path}/builds")["items"]
    assert [(each["status"], each["reason"]) for each in builds] == [("cancelled", "cancelled by an administrator")] * 2


def sign_up(client: RegistryClient, way: str, name: str, address: str) -> int:
    """Sign up in one of the ways that there are, from an address that the proxy reports."""
    new = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
    headers = {"X-Forwarded-For": address}
    if way == "api":
        return client.status("POST", "/api/v1/users", headers, json=new)
    if way == "index":
        return client.status("POST", "/v1/users/", headers, content=json.dumps(new).encode())
    page = client.send("GET", "/sign-up", headers)
    token = page.text.partition('name="form_token" value="')[2].partition('"')[0]
    cookies = {"Cookie": "; ".join(f"{key}={value}" for key, value in page.cookies.items())}
    return client.status("POST", "/sign-up", {**headers, **cookies}, data={**new, "form_token": token})


@pytest.mark.parametrize("way", ["api", "index", "page"])
def test_hundreds_of_sign_ups_from_one_network(start_hub: Callable[..., HytheServer], way: str) -> None:
    """Of many sign-ups at once from one /64 network, ten succeed; the others say when to come back."""
    hub = start_hub(env=QUIET, arguments=["--trusted-proxies", "127.0.0.1"])
    client = RegistryClient(hub.url)
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda n: sign_up(client, way, f"bot-{n}", f"2001:db8:1:1:{n:x}::{n:x}"), range(30)))

    created = {201, 303}
    assert sum(status in created for status in statuses) == 10
    assert {status for status in statuses if status not in created} == {429}
    assert sign_up(client, way, "neighbour", "2001:db8:1:2::1") in created


def test_a_client_cannot_choose_its_address(start_hub: Callable[..., HytheServer]) -> None:
    """Without a trusted proxy, X-Forwarded-For means nothing; the log names the setting that a proxy needs."""
    hub = start_hub(env=QUIET)
    client = RegistryClient(hub.url)

    statuses = [sign_up(client, "api", f"bot-{n}", f"192.0.2.{n}") for n in range(12)]

    assert statuses == [201] * 10 + [429] * 2
    assert "set trusted_proxies" in hub.log
    refused = client.send(
        "POST", "/api/v1/users", json={"username": "x-1", "email": "x1@example.com", "password": PASSWORD}
    )
    assert "10 accounts were created from your network today" in refused.json()["detail"]
    assert 0 < int(refused.headers["Retry-After"]) <= 86400
