"""Docker Hub's API as tools use it (``clients.md``, section 7)."""

import httpx2
from tests.parts.hub import HytheServer
from tests.unit.hub.routes.people import PASSWORD, People
from tests.unit.hub.routes.roles_hub import EMPTY_INDEX


def test_log_in(server: HytheServer, as_: People) -> None:
    """Both endpoints return a token that works as Bearer and as JWT; a wrong password is 401 with ``detail``."""
    first = as_("").post("/v2/users/login/", json={"username": "ann", "password": PASSWORD}).json()["token"]
    second = as_("").post("/v2/auth/token", json={"identifier": "ann", "secret": PASSWORD}).json()["access_token"]
    wrong = as_("").post("/v2/users/login", json={"username": "ann", "password": "wrong"})

    for header in (f"Bearer {first}", f"JWT {first}", f"Bearer {second}"):
        me = httpx2.get(f"{server.url}/api/v1/users/me", headers={"Authorization": header})
        assert me.json()["username"] == "ann"
    assert (wrong.status_code, wrong.json()["detail"]) == (401, "incorrect username or password")


def test_log_in_by_personal_token(as_: People) -> None:
    """Logging in with a personal access token does not widen its rights."""
    made = as_("ann").post("/api/v1/tokens", json={"name": "x", "rights": ["repo:read"]}).json()["token"]

    token = as_("").post("/v2/users/login", json={"username": "ann", "password": made}).json()["token"]

    headers = {"Authorization": f"Bearer {token}"}
    assert as_("").get("/api/v1/users/me", headers=headers).status_code == 200
    assert as_("").get("/api/v1/tokens", headers=headers).status_code == 403


def test_repositories_and_tags(server: HytheServer, as_: People) -> None:
    """The page has links to its neighbours; repositories, tags and deletion work; private repositories are hidden."""
    for number in range(3):
        new = {"namespace": "ann", "name": f"hub-{number}", "description": "Old words"}
        assert as_("ann").post("/api/v1/repositories", json=new).status_code == 201
    as_("ann").patch("/api/v1/repositories/ann/hub-0", json={"visibility": "private"})

    page = as_("").get("/v2/repositories/ann/", params={"page": 1, "page_size": 1}).json()
    following = as_("").get(page["next"]).json()
    shown = as_("").get("/v2/repositories/ann/hub-1/").json()
    tags = as_("").get("/v2/repositories/ann/hub-1/tags/").json()

    assert (page["count"], page["previous"], len(page["results"])) == (2, None, 1)
    assert page["next"].startswith(f"{server.url}/v2/repositories/ann/?")
    assert following["results"] != page["results"]
    assert (shown["name"], shown["namespace"], shown["is_private"]) == ("hub-1", "ann", False)
    assert (tags["count"], tags["results"]) == (0, [])
    assert as_("").get("/v2/repositories/ann/hub-0/").status_code == 404
    assert as_("ben").delete("/v2/repositories/ann/hub-1/").status_code == 403
    assert as_("ann").delete("/v2/repositories/ann/hub-1/").status_code == 202
    assert as_("ann").get("/v2/repositories/ann/hub-1/tags/latest/").status_code == 404


def test_organizations(as_: People) -> None:
    """One's own, in the form that ``hub-tool org ls`` reads; no one else's."""
    assert as_("ben").post("/api/v1/organizations", json={"name": "bens"}).status_code == 201

    own = as_("ben").get("/v2/user/orgs/", params={"page_size": 100, "page": 1}).json()

    assert (own["count"], own["next"]) == (1, None)
    assert (own["results"][0]["orgname"], own["results"][0]["type"]) == ("bens", "Organization")
    assert as_("ann").get("/v2/user/orgs").json()["results"] == []
    assert as_("").get("/v2/user/orgs").status_code == 401


def test_an_organization_and_its_members(as_: People) -> None:
    """Anyone sees the organization, members the members, with their roles in Docker Hub's words."""
    assert as_("ben").post("/api/v1/organizations", json={"name": "hub-team"}).status_code == 201
    assert as_("ben").post("/api/v1/organizations/hub-team/invitations", json={"username": "ann"}).status_code == 201

    shown = as_("").get("/v2/orgs/hub-team/").json()
    page = as_("ben").get("/v2/orgs/hub-team/members", params={"page_size": 100}).json()

    assert (shown["orgname"], shown["type"]) == ("hub-team", "Organization")
    assert page["count"] == 1
    (member,) = page["results"]
    assert (member["username"], member["role"], member["type"]) == ("ben", "Owner", "User")
    assert as_("ann").get("/v2/orgs/hub-team/members").status_code in (403, 404)
    missing = as_("ben").get("/v2/orgs/none-such")
    assert missing.status_code == 404
    assert missing.json().keys() >= {"message", "detail"}
    assert as_("ben").get("/v2/orgs/none-such/members/").json().keys() >= {"message", "detail"}


def test_a_repository_called_orgs(as_: People) -> None:
    """Its paths stay those of the registry, also where one looks like a list of members."""
    curator, media_type = as_("curator"), {"Content-Type": str(EMPTY_INDEX["mediaType"])}
    for tag in ("latest", "members"):
        pushed = curator.put(f"/v2/orgs/manifests/{tag}", json=EMPTY_INDEX, headers=media_type)
        assert pushed.status_code == 201
        assert curator.get(f"/v2/orgs/manifests/{tag}").json() == EMPTY_INDEX
    digest = pushed.headers["Docker-Content-Digest"]

    assert curator.get("/v2/orgs/tags/list").json()["tags"] == ["latest", "members"]
    assert curator.get(f"/v2/orgs/referrers/{digest}").json()["manifests"] == []
    assert curator.post("/v2/orgs/blobs/uploads/").status_code == 202
    assert curator.get("/v2/orgs/unknown/tags/list").json().keys() == {"errors"}
    assert curator.delete("/v2/repositories/library/orgs/").status_code == 202


def test_repositories_of_an_organization(server: HytheServer, as_: People) -> None:
    """What tools do with a token of a login: list repositories and tags, delete a tag and a repository."""
    assert as_("ben").post("/api/v1/organizations", json={"name": "tooled"}).status_code == 201
    assert as_("ben").post("/api/v1/repositories", json={"namespace": "tooled", "name": "app", "visibility": "private"})
    media_type = {"Content-Type": str(EMPTY_INDEX["mediaType"])}
    pushed = as_("ben").put("/v2/tooled/app/manifests/latest", json=EMPTY_INDEX, headers=media_type)
    assert pushed.status_code == 201
    reply = as_("").post("/v2/users/login/", json={"username": "ben", "password": PASSWORD})
    tool = httpx2.Client(base_url=server.url, timeout=60, headers={"Authorization": f"JWT {reply.json()['token']}"})

    listed = tool.get("/v2/repositories/tooled/", params={"page_size": 100}).json()
    tags = tool.get("/v2/repositories/tooled/app/tags/", params={"page_size": 100}).json()

    assert [(each["namespace"], each["name"], each["is_private"]) for each in listed["results"]] == [
        ("tooled", "app", True)
    ]
    assert [tag["name"] for tag in tags["results"]] == ["latest"]
    assert as_("").get("/v2/repositories/tooled/app/tags/").status_code == 404
    assert as_("ann").delete("/v2/repositories/tooled/app/tags/latest/").status_code == 404
    assert tool.delete("/v2/repositories/tooled/app/tags/latest/").status_code == 204
    assert tool.get("/v2/repositories/tooled/app/tags/").json()["results"] == []
    assert tool.delete("/v2/repositories/tooled/app/").status_code == 202
    assert tool.get("/v2/repositories/tooled/").json()["results"] == []


def test_search(as_: People) -> None:
    """Errors have the form of Docker Hub's API."""
    new = {"namespace": "ann", "name": "findme", "description": "Find this"}
    assert as_("ann").post("/api/v1/repositories", json=new).status_code == 201

    found = as_("").get("/v2/search/repositories/", params={"query": "findme"}).json()

    assert found["count"] == 1
    assert found["results"][0] == {
        "repo_name": "ann/findme",
        "short_description": "Find this",
        "star_count": 0,
        "pull_count": 0,
        "is_official": False,
        "is_automated": False,
    }
