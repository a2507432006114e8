"""Renames in the JSON API: former names redirect to the same address with the present one."""

from tests.unit.hub.routes.people import People


def test_former_names_redirect(as_: People) -> None:
    """308 with the present name for whoever may see the repository, 404 for others."""
    made = as_("ann").post("/api/v1/repositories", json={"namespace": "ann", "name": "before"})
    assert made.status_code == 201, made.text

    renamed = as_("ann").post("/api/v1/repositories/ann/before/rename", json={"name": "after"})
    redirect = as_("").get("/api/v1/repositories/ann/before/tags?page_size=3")
    hub_redirect = as_("").get("/v2/repositories/ann/before/")
    listed = as_("ann").get("/api/v1/namespaces/ann/redirects").json()["items"]
    refused = as_("ben").delete("/api/v1/redirects/ann/before")
    as_("ann").patch("/api/v1/repositories/ann/after", json={"visibility": "private"})
    hidden = as_("").get("/api/v1/repositories/ann/before/tags")
    ended = as_("ann").delete("/api/v1/redirects/ann/before")

    assert (renamed.status_code, renamed.json()) == (200, {"name": "ann/after"})
    assert redirect.status_code == 308
    assert redirect.headers["Location"] == "/api/v1/repositories/ann/after/tags?page_size=3"
    assert hub_redirect.headers["Location"] == "/v2/repositories/ann/after/"
    assert [(each["name"], each["target"]) for each in listed] == [("ann/before", "ann/after")]
    assert refused.status_code == 403
    assert hidden.status_code == 404
    assert "after" not in hidden.text
    assert ended.status_code == 204
    assert as_("ann").get("/api/v1/repositories/ann/before").status_code == 404


def test_transfer(as_: People) -> None:
    """An offer to another user is listed there, and accepted."""
    assert as_("ann").post("/api/v1/repositories", json={"namespace": "ann", "name": "gift"}).status_code == 201

    offered = as_("ann").post("/api/v1/repositories/ann/gift/transfer", json={"to": "ben"}).json()
    (offer,) = as_("ben").get("/api/v1/namespaces/ben/offers").json()["items"]
    accepted = as_("ben").post(f"/api/v1/namespaces/ben/offers/{offer['repository_id']}/accept")

    assert (offered["repository"], offered["done"]) == ("ben/gift", False)
    assert accepted.status_code == 200, accepted.text
    assert accepted.json()["repository"] == "ben/gift"
    assert as_("").get("/api/v1/repositories/ann/gift").headers["Location"] == "/api/v1/repositories/ben/gift"
