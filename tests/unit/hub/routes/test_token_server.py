"""``/token`` and the login of docker, podman and containerd, request by request (``clients.md``, section 2)."""

from typing import Any

import httpx2
import pytest
from tests.parts.hub import HytheServer
from tests.unit.hub.routes.people import PASSWORD, People

from hythe.oci.challenge import parse_challenges


def form(as_: People, **fields: str) -> httpx2.Response:
    """Send a form to /token."""
    return as_("").post("/token", data=fields)


def test_the_whole_login(server: HytheServer, as_: People) -> None:
    """401 with a Bearer challenge; a token by Basic without scope; then 200, and a refresh token that works."""
    asked = as_("").get("/v2/")
    (challenge,) = parse_challenges(asked.headers["WWW-Authenticate"])
    query = {
        "service": challenge.parameters["service"],
        "offline_token": "true",
        "client_id": "docker",
        "account": "ann",
    }
    reply = as_("ann").get(challenge.parameters["realm"], params=query)

    assert (asked.status_code, challenge.scheme) == (401, "bearer")
    assert challenge.parameters == {"realm": f"{server.url}/token", "service": server.host}
    assert reply.status_code == 200
    body = reply.json()
    assert body["token"] == body["access_token"]
    assert body["expires_in"] >= 60
    assert body["issued_at"].endswith("Z")
    entered = as_("").get("/v2/", headers={"Authorization": f"Bearer {body['token']}"})
    assert entered.status_code == 200
    renewed = form(
        as_, grant_type="refresh_token", refresh_token=body["refresh_token"], service="x", scope="repository:ann/a:push"
    )
    assert renewed.json()["scope"] == "repository:ann/a:push"


def test_anonymous_token(as_: People) -> None:
    """Anonymous clients get a token, too: without a refresh token and without the right to push."""
    reply = as_("").get("/token", params={"scope": "repository:ann/a:pull,push", "offline_token": "true"}).json()

    assert "refresh_token" not in reply
    assert reply["scope"] == ""
    headers = {"Authorization": f"Bearer {reply['token']}"}
    assert as_("").get("/v2/", headers=headers).status_code == 200
    assert as_("").post("/v2/ann/a/blobs/uploads/", headers=headers).status_code == 401


def test_wrong_password(server: HytheServer) -> None:
    """401 in a form that docker prints as "unauthorized: incorrect username or password"."""
    reply = httpx2.get(f"{server.url}/token", auth=("ann", "wrong"))

    assert reply.status_code == 401
    (error,) = reply.json()["errors"]
    assert (error["code"], error["message"]) == ("UNAUTHORIZED", "incorrect username or password")
    assert reply.json()["details"] == "incorrect username or password"


def test_password_by_form(as_: People) -> None:
    """containerd and podman POST the password; the refresh token comes when they ask for offline access."""
    reply = form(
        as_,
        grant_type="password",
        username="ann",
        password=PASSWORD,
        client_id="containerd-client",
        service="x",
        scope="repository:ann/a:pull,push repository:library/b:pull",
        access_type="offline",
    )

    assert reply.status_code == 200
    assert reply.json()["scope"] == "repository:ann/a:pull,push"
    assert reply.json()["refresh_token"]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"grant_type": "password", "username": "ann", "password": "wrong"}, 401),
        ({"grant_type": "refresh_token", "refresh_token": "forged"}, 401),
        ({"grant_type": "refresh_token"}, 401),
        ({"grant_type": "client_credentials"}, 400),
        ({"scope": "nonsense"}, 400),
        ({"grant_type": "password", "username": "a\0", "password": "\0"}, 401),
    ],
)
def test_what_is_refused(as_: People, fields: dict[str, str], status: int) -> None:
    """Each error has a body that all clients can read, and makes containerd try GET."""
    reply = form(as_, **fields)

    assert reply.status_code == status
    body = reply.json()
    assert body["errors"][0]["message"] == body["details"] == body["error_description"]


def test_several_scopes(as_: People) -> None:
    """One ``scope`` for each resource, or several in one; denied ones have no actions."""
    query = [("scope", "repository:ann/a:pull,push"), ("scope", "repository:ben/b:push repository:ann/c:delete")]

    reply = as_("ann").get("/token", params=query).json()

    assert reply["scope"] == "repository:ann/a:pull,push repository:ann/c:delete"


def test_curl_may_use_basic(as_: People) -> None:
    """Below /v2/ a password works, too, though only Bearer is offered."""
    assert as_("ann").get("/v2/").status_code == 200


def test_a_pull_token_deletes_nothing(as_: People) -> None:
    """The token that docker has after a pull can read in the JSON API, and change nothing; others do what they name."""
    new = {"namespace": "ann", "name": "kept", "visibility": "private"}
    assert as_("ann").post("/api/v1/repositories", json=new).status_code == 201
    path = "/api/v1/repositories/ann/kept"

    def bearer(scope: str) -> dict[str, str]:
        token = as_("ann").get("/token", params={"scope": scope}).json()["token"]
        return {"Authorization": f"Bearer {token}"}

    def tried(method: str, scope: str, **more: Any) -> int:
        return as_("").request(method, path, headers=bearer(scope), **more).status_code

    assert tried("GET", "repository:ann/kept:pull") == 200
    assert tried("GET", "repository:ann/other:pull") == 404
    assert tried("DELETE", "repository:ann/kept:pull") == 403
    assert tried("PATCH", "repository:ann/kept:pull", json={"visibility": "public"}) == 403
    me = as_("").get("/api/v1/users/me", headers=bearer("repository:ann/kept:pull,push,delete"))
    assert me.status_code == 403
    writing = "repository:ann/kept:pull,push"
    assert tried("PATCH", writing, json={"description": "kept"}) == 200
    assert tried("PATCH", writing, json={"visibility": "public"}) == 403
    assert tried("DELETE", writing) == 403
    assert tried("DELETE", "repository:ann/kept:pull,push,delete") == 204


def test_scopes_that_name_nothing(as_: People) -> None:
    """An invalid repository name has no actions, whatever characters it contains."""
    for name in ("a%00b", "%E6%97%A5", "A//b"):
        reply = as_("").get(f"/token?scope=repository:{name}:pull")

        assert (reply.status_code, reply.json()["scope"]) == (200, "")


@pytest.mark.parametrize("name", ["%E6%97%A5", "a%0d%0aX-Evil:%201", "%C3%A9/%00", "A"])
def test_worn_out_tokens_at_names_that_cannot_be(as_: People, name: str) -> None:
    """The challenge of a 401 contains nothing of an invalid name, so callers cannot write headers."""
    reply = as_("").get(f"/v2/{name}/tags/list", headers={"Authorization": "Bearer worn-out"})

    assert reply.status_code == 401
    assert "X-Evil" not in reply.headers
    assert parse_challenges(reply.headers["WWW-Authenticate"])[0].parameters.keys() == {"realm", "service"}


def test_names_that_grow_too_long(as_: People) -> None:
    """A short name of 255 characters would have 263 with ``library/``, and is refused as too long."""
    token = as_("curator").get("/token").json()["token"]

    reply = as_("").post(f"/v2/{'a' * 255}/blobs/uploads/", headers={"Authorization": f"Bearer {token}"})

    assert (reply.status_code, reply.json()["errors"][0]["code"]) == (400, "NAME_INVALID")


def test_guesses_at_the_registry_lock_out_their_own_address(server: HytheServer, as_: People) -> None:
    """Wrong passwords by Basic below ``/v2/`` count for their address: ben can still log in from another one."""
    elsewhere = httpx2.HTTPTransport(local_address="127.0.0.2")
    with httpx2.Client(base_url=server.url, timeout=60, transport=elsewhere) as stranger:
        statuses = [stranger.get("/v2/", auth=("ben", "wrong")).status_code for _ in range(11)]

    assert (statuses[0], statuses[-1]) == (401, 429)
    assert as_("ben").get("/v2/").status_code == 200
