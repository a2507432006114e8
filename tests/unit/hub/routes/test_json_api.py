"""The JSON API: requests, responses, and that private repositories look absent."""

from typing import Any

import httpx2
import pytest
from tests.unit.hub.routes.people import PASSWORD, People

from hythe.hub.actor import Right


def make(as_: People, name: str, **values: Any) -> None:
    """Let Ann create a repository."""
    reply = as_("ann").post("/api/v1/repositories", json={"namespace": "ann", "name": name, **values})
    assert reply.status_code == 201, reply.text


def test_sign_up(as_: People) -> None:
    """201 with the account; 409 if the name is taken; 422 naming each invalid or missing field."""
    new = {"username": "eve", "email": "eve@example.com", "password": PASSWORD}

    made = as_("").post("/api/v1/users", json=new)
    again = as_("").post("/api/v1/users", json=new)
    bad = as_("").post("/api/v1/users", json={"username": "-", "password": 5})

    assert (made.status_code, made.json()["username"], made.json()["admin"]) == (201, "eve", False)
    assert again.status_code == 409
    assert {error["field"] for error in again.json()["errors"]} == {"username", "email"}
    assert bad.status_code == 422
    assert {error["field"] for error in bad.json()["errors"]} == {"username", "email", "password"}
    assert {error["pointer"] for error in bad.json()["errors"]} == {"/username", "/email", "/password"}
    assert bad.headers["Content-Type"] == "application/problem+json"
    assert bad.json()["status"] == 422


def test_plan(as_: People) -> None:
    """Administrators set an account's plan, which its user sees; other users are refused."""
    path = "/api/v1/users/ann"

    refused = as_("ann").patch(path, json={"private_limit": 1000})
    bad = as_("curator").patch(path, json={"private_limit": -1})
    too_big = as_("curator").patch(path, json={"storage_limit": 2**63})
    given = as_("curator").patch(path, json={"private_limit": 1000})
    own = as_("ann").get("/api/v1/users/me").json()
    as_("curator").patch(path, json={"private_limit": None})

    assert (refused.status_code, bad.status_code, too_big.status_code) == (403, 422, 422)
    assert (given.status_code, given.json()["private_limit"]) == (200, 1000)
    assert (own["private_limit"], "private_count" in own) == (1000, True)
    assert "private_limit" not in as_("").get(path).json()
    assert as_("ann").get("/api/v1/users/me").json()["private_limit"] is None


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b'{"username": "\\ud800"}', b"[" * 5000])
def test_bodies_that_are_no_object(as_: People, body: bytes) -> None:
    """Invalid JSON is a problem that says so, never a 500."""
    reply = as_("").post("/api/v1/users", content=body)

    assert reply.status_code == 400
    assert reply.json()["title"] == "Bad Request"


def test_body_too_large(as_: People) -> None:
    """An oversized body is refused before it is parsed."""
    reply = as_("").post("/api/v1/users", content=b" " * 300_000)

    assert reply.status_code == 400
    assert "more than" in reply.json()["detail"]


def test_what_a_database_cannot_hold(as_: People) -> None:
    """NUL characters in patterns, and addresses that outgrow their column in lower case, are refused by field."""
    make(as_, "fixed")

    patterns = as_("ann").put("/api/v1/repositories/ann/fixed/immutable-tags", json={"patterns": ["v\0"]})
    email = as_("ann").patch("/api/v1/users/me", json={"email": "a@" + "\u0130" * 180})

    assert (patterns.status_code, patterns.json()["errors"][0]["field"]) == (422, "patterns")
    assert (email.status_code, email.json()["errors"][0]["field"]) == (422, "email")
    for path, value, field in (
        ("repositories", {"namespace": "ann", "name": "odd", "description": "a\0b"}, "description"),
        ("repositories", {"namespace": "ann", "name": "odd", "full_description": "a\0b"}, "full_description"),
        ("tokens", {"name": "c\0i", "rights": ["repo:read"]}, "name"),
    ):
        reply = as_("ann").post(f"/api/v1/{path}", json=value)
        assert (reply.status_code, [error["field"] for error in reply.json()["errors"]]) == (422, [field])


def test_forms_of_other_sites(as_: People) -> None:
    """Another site's page cannot use a password that the browser cached."""
    new = {"namespace": "ann", "name": "forged"}
    made_by = {"Sec-Fetch-Site": "cross-site", "Content-Type": "text/plain"}

    refused = as_("ann").post("/api/v1/repositories", json=new, headers=made_by)

    assert refused.status_code == 403
    assert as_("ann").get("/api/v1/repositories/ann/forged").status_code == 404


def test_repository_from_making_to_deleting(as_: People) -> None:
    """POST, GET, PATCH, GET as other users, DELETE."""
    new = {"namespace": "ann", "name": "app", "visibility": "public", "description": "An app"}
    path = "/api/v1/repositories/ann/app"

    assert as_("ann").post("/api/v1/repositories", json=new).status_code == 201
    assert as_("ann").post("/api/v1/repositories", json=new).status_code == 409
    shown = as_("").get(path).json()
    changed = as_("ann").patch(path, json={"description": "Better", "visibility": "private"}).json()

    assert (shown["description"], shown["visibility"], shown["pushed_at"]) == ("An app", "public", None)
    assert (changed["description"], changed["visibility"]) == ("Better", "private")
    assert as_("").get(path).status_code == 404
    assert as_("ben").delete(path).status_code == 404
    assert as_("ann").delete(path).status_code == 204
    assert as_("ann").get(path).status_code == 404


def test_who_may(as_: People) -> None:
    """For a repository that both see, anonymous clients get 401 and other users 403 with the reason."""
    make(as_, "open")
    path = "/api/v1/repositories/ann/open"

    anonymous, ben = as_("").patch(path, json={}), as_("ben").patch(path, json={})

    assert (anonymous.status_code, ben.status_code) == (401, 403)
    assert anonymous.headers["WWW-Authenticate"].startswith("Basic ")
    assert ben.json()["detail"] == "only ann and collaborators may push to ann/.."
    elsewhere = as_("ben").post("/api/v1/repositories", json={"namespace": "ann", "name": "x"})
    assert elsewhere.status_code == 403


PRIVATE_PATHS = (
    ("GET", "/api/v1/repositories/ann/{}", None),
    ("PATCH", "/api/v1/repositories/ann/{}", {"description": "x"}),
    ("DELETE", "/api/v1/repositories/ann/{}", None),
    ("GET", "/api/v1/repositories/ann/{}/tags", None),
    ("GET", "/api/v1/repositories/ann/{}/tags/latest", None),
    ("DELETE", "/api/v1/repositories/ann/{}/tags/latest", None),
    ("GET", "/api/v1/repositories/ann/{}/tags/latest/history", None),
    ("POST", "/api/v1/repositories/ann/{}/tags/latest/restore", {"digest": "sha256:" + "0" * 64}),
    ("GET", "/api/v1/repositories/ann/{}/immutable-tags", None),
    ("PUT", "/api/v1/repositories/ann/{}/immutable-tags", {"patterns": []}),
    ("GET", "/v2/ann/{}/tags/list", None),
    ("GET", "/v2/ann/{}/manifests/latest", None),
    ("HEAD", "/v2/ann/{}/manifests/latest", None),
    ("PUT", "/v2/ann/{}/manifests/latest", {}),
    ("DELETE", "/v2/ann/{}/manifests/latest", None),
    ("GET", "/v2/ann/{}/blobs/sha256:" + "0" * 64, None),
    ("POST", "/v2/ann/{}/blobs/uploads/", None),
    ("GET", "/v2/ann/{}/referrers/sha256:" + "0" * 64, None),
    ("GET", "/v1/search?q={}", None),
    ("GET", "/api/v1/search?q={}", None),
    ("GET", "/token?scope=repository:ann/{}:pull,push", None),
)


def _answer(reply: httpx2.Response, name: str) -> tuple[Any, ...]:
    """Return status, headers and body of a response without the requested name, the time, the ID and the token."""
    same = {
        key: value
        for key, value in reply.headers.items()
        if key not in ("date", "x-request-id") and "ratelimit" not in key
    }
    headers = {key: value.replace(name, "NAME") for key, value in same.items()}
    body: Any = reply.text.replace(name, "NAME")
    if reply.headers.get("content-type") == "application/json" and "token" in reply.text:
        body = {key: value for key, value in reply.json().items() if "token" not in key and key != "issued_at"}
        headers.pop("content-length")
    return reply.status_code, headers, body


def test_private_is_like_absent_everywhere(as_: People) -> None:
    """Status, headers and body are equal for a private and a missing repository, except for its owner."""
    make(as_, "sealed-one", visibility="private", description="sealed")

    for method, path, body in PRIVATE_PATHS:
        for who in ("", "ben", "curator"):
            hidden = as_(who).request(method, path.format("sealed-one"), json=body)
            absent = as_(who).request(method, path.format("absent-one"), json=body)
            assert _answer(hidden, "sealed-one") == _answer(absent, "absent-one"), (method, path, who)


def test_private_is_in_no_list_of_others(as_: People) -> None:
    """Only its owner finds it in lists and search."""
    make(as_, "listed-secret", visibility="private")

    def listed(who: str, path: str) -> bool:
        return "listed-secret" in as_(who).get(path).text

    for path in ("/api/v1/repositories/ann", "/api/v1/search?q=listed", "/v1/search?q=listed"):
        assert listed("ann", path)
        assert not any(listed(who, path) for who in ("", "ben", "curator"))
    assert not listed("ann", "/api/v1/repositories")


def test_lists_come_in_pages(as_: People) -> None:
    """``page`` and ``page_size`` have bounds."""
    for number in range(3):
        make(as_, f"paged-{number}")
    query = {"q": "paged", "page_size": "2", "page": "2"}

    page = as_("").get("/api/v1/search", params=query).json()
    bad = as_("").get("/api/v1/search", params={"page": "0", "page_size": "101"})
    worse = as_("").get("/api/v1/search", params={"page": "x"})

    assert (page["total"], page["page"], page["page_size"], len(page["items"])) == (3, 2, 2, 1)
    assert {error["field"] for error in bad.json()["errors"]} == {"page", "page_size"}
    assert (bad.status_code, worse.status_code) == (422, 422)


def test_account(as_: People) -> None:
    """Users see and change their own account, and see others without their e-mail address."""
    assert as_("ann").get("/api/v1/users/me").json()["email"] == "ann@example.com"
    assert "email" not in as_("ben").get("/api/v1/users/ann").json()
    assert as_("").get("/api/v1/users/me").status_code == 401
    assert as_("").get("/api/v1/users/ghost").status_code == 404
    assert as_("ben").get("/api/v1/users").status_code == 403
    assert as_("curator").get("/api/v1/users").json()["total"] >= 3
    changed = as_("ben").patch("/api/v1/users/me", json={"default_visibility": "private"})
    assert changed.json()["default_visibility"] == "private"
    change = {"email": "Ben2@example.com", "current": PASSWORD}
    pending = as_("ben").put("/api/v1/users/me/email", json=change)
    assert (pending.status_code, pending.json()["pending"]) == (202, "ben2@example.com")
    waiting = as_("curator").get("/api/v1/admin/mail").json()["items"]
    (secret,) = (each["text"].split("?token=")[1].split()[0] for each in waiting if "ben2" in each["recipient"])
    assert as_("").post("/api/v1/email-addresses/confirm", json={"token": secret}).json()["email"] == "ben2@example.com"
    refused = as_("ben").put("/api/v1/users/me/password", json={"current": "wrong", "password": "another horse"})
    assert refused.status_code == 422


def test_a_token_of_an_administrator_takes_over_nothing(as_: People) -> None:
    """With all rights it can do much, but not get at what belongs to others: that takes the password."""
    new = {"name": "all", "rights": [right.value for right in Right]}
    made = as_("curator").post("/api/v1/tokens", json=new).json()
    bearer = {"Authorization": f"Bearer {made['token']}"}
    make(as_, "treasure", visibility="private")
    as_("ann").post("/api/v1/organizations", json={"name": "pirates"})
    attempts: dict[str, tuple[str, str, dict[str, str] | None]] = {
        "make a user an owner": ("PUT", "accounts/pirates/owners/curator", None),
        "read a private repository": ("POST", "repositories/ann/treasure/access", {"reason": "curious"}),
        "give a repository of others": ("POST", "repositories/ann/treasure/hand-over", {"to": "curator"}),
        "see messages": ("GET", "mail", None),
    }

    for action, (method, path, body) in attempts.items():
        by_token = httpx2.request(method, f"{as_('').base_url}/api/v1/admin/{path}", json=body, headers=bearer)
        assert by_token.status_code == 403
        assert by_token.headers["Content-Type"] == "application/problem+json"
        assert by_token.json()["detail"].startswith(f"a token may not {action}")
        assert by_token.json()["hint"] == "sign in with your password"
    assert as_("").get("/api/v1/admin/overview", headers=bearer).status_code == 200
    for method, path, body in attempts.values():
        assert as_("curator").request(method, f"/api/v1/admin/{path}", json=body).status_code == 200


def test_personal_tokens(as_: People) -> None:
    """A token is created with its secret, listed without it, used as Bearer, and revoked."""
    made = as_("ann").post("/api/v1/tokens", json={"name": "ci", "rights": ["repo:read"], "expires_in_days": 7}).json()
    bearer = {"Authorization": f"Bearer {made['token']}"}
    make(as_, "for-token", visibility="private")
    path = "/api/v1/repositories/ann/for-token"

    listed = as_("ann").get("/api/v1/tokens").json()["items"]

    assert made["token"].startswith("hythe_")
    assert [token["name"] for token in listed] == ["ci"]
    assert "token" not in listed[0]
    assert as_("").get(path, headers=bearer).status_code == 200
    assert as_("").delete(path, headers=bearer).status_code == 403
    assert as_("").get("/api/v1/tokens", headers=bearer).status_code == 403
    assert as_("ann").delete(f"/api/v1/tokens/{made['id']}").status_code == 204
    assert as_("").get(path, headers=bearer).status_code == 401
    for number in ("0", "x", "9" * 30):
        assert as_("ann").delete(f"/api/v1/tokens/{number}").status_code == 404


@pytest.mark.parametrize("name", ["a%00b", "UPPER", "a//b", "%F0%9F%90%B3", "x" * 400])
def test_names_that_cannot_be(as_: People, name: str) -> None:
    """A missing resource is a problem."""
    for path in (f"/api/v1/repositories/ann/{name}", f"/api/v1/repositories/{name}", f"/api/v1/users/{name}"):
        reply = as_("ann").get(path)
        assert reply.status_code == 404, (path, reply.text)


def test_what_is_not_there(as_: People) -> None:
    """Unknown addresses and methods are problems, too."""
    nowhere, method = as_("").get("/api/v9/x"), as_("").put("/api/v1/users", json={})

    assert (nowhere.status_code, method.status_code) == (404, 405)
    assert method.headers["Allow"] == "POST, GET"
    assert nowhere.headers["Content-Type"] == method.headers["Content-Type"] == "application/problem+json"


def test_the_original_index(as_: People) -> None:
    """Sign-up, login, ping and search as docker 0.9 to 1.10 and current clients use them."""
    new = {"username": "old", "password": PASSWORD, "email": "old@example.com"}

    made = as_("").post("/v1/users/", json=new)
    again = as_("").post("/v1/users/", json=new)
    bad = as_("").post("/v1/users/", json={**new, "username": "UP"})
    good, wrong = as_("ann").get("/v1/users/"), httpx2.get(f"{made.url}", auth=("old", "wrong"))
    make(as_, "original", description="An original")
    found = as_("").get("/v1/search", params={"q": "original", "n": "1000"}).json()

    assert made.status_code == 201
    assert (again.status_code, again.text) == (400, '"Username or email already exists"')
    assert (bad.status_code, "username" in bad.text) == (400, True)
    assert (good.status_code, wrong.status_code) == (200, 401)
    assert as_("").get("/v1/_ping").status_code == 200
    assert (found["query"], found["num_results"], found["page_size"]) == ("original", 1, 100)
    assert found["results"] == [
        {
            "name": "ann/original",
            "description": "An original",
            "star_count": 0,
            "is_official": False,
            "is_automated": False,
            "is_trusted": False,
        }
    ]
