"""A hub that shows nothing without signing in: what works anyhow, and that no route shows anything else."""

import re
from collections.abc import Iterator
from urllib.parse import urlencode

import httpx2
import msgspec
import pytest
from tests.builds.hand_worker import BY_HAND, HandWorker
from tests.parts.hub import HUB, HytheServer, server_factory
from tests.unit.hub.routes.people import PASSWORD

from hythe.builds.routes import application as build_routes
from hythe.builds.routes import builds, configurations
from hythe.hub.routes import application as hub_routes
from hythe.hub.routes import docker_hub
from hythe.web.routes.application import PAGES

MARK = "quayside"
"""A word in every text of the repository: no response to the anonymous contains it."""

INDEX = "application/vnd.oci.image.index.v1+json"
EMPTY = msgspec.json.encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": []})

OPEN = frozenset(
    {
        *("/v1/_ping", "/api/openapi.json", "/.well-known/hythe/builds.pem", "/v2/"),
        *("/sign-in", "/sign-up", "/sign-in/second-factor", "/forgot-password", "/reset-password"),
        *("/confirm-email", "/confirm-email/undo", "/badge/ann/app.svg", "/token"),
        *("/api/v1/tag-log/checkpoint", "/api/v1/tag-log/key", "/api/v1/tag-log/tile/0/000"),
    }
)
"""What also the anonymous may get. The badge is the one of an unknown repository; what the tag log shows are its size,
its key and hashes, which witnesses compare.
"""

PATH = {
    "namespace": "ann",
    "name": "app",
    "repository": "ann/app",
    "reference": "ann/app",
    "tag": "latest",
    "username": "ann",
    "user": "ann",
    "number": "1",
    "provider": "none",
    "level": "0",
    "tile": "000",
}
QUERY = {"query": "app", "q": "app", "size": 1, "url": "https://git.example.com/a/b.git", "repository": "ann/app"}


def _reads() -> Iterator[str]:
    """Yield a path for every route with GET."""
    for endpoint in (*hub_routes.ENDPOINTS, *docker_hub.ENDPOINTS):
        if endpoint.method == "GET":
            names = [each.encode_name for each in msgspec.structs.fields(endpoint.query)]
            query = {name: QUERY.get(name, 1) for name in names if name in QUERY} if names else {}
            yield _filled(endpoint.path) + (f"?{urlencode(query)}" if query else "")
    of_builds = [(each.method, each.path) for each in (*builds.TABLE, *configurations.TABLE)]
    for method, path, *_ in (*of_builds, *hub_routes.PLAIN, *build_routes.PLAIN):
        if method == "GET":
            yield _filled(path)
    for page in PAGES:
        if page.get is not None:
            yield _filled(page.path)
    yield from ("/v2/", "/v2/_catalog", "/v2/ann/app/tags/list", "/v2/ann/app/manifests/latest")
    yield from ("/v1/search?q=app", "/search?q=app", "/api/v1/repositories/ann/app/webhooks", "/api/openapi.json")


def _filled(path: str) -> str:
    return re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: PATH.get(found[1], "1"), path)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HytheServer]:
    """A closed hub with an administrator, and Ann with a public repository that has a tag and Trusted Builds."""
    env = {**BY_HAND, "HYTHE_REQUIRE_SIGN_IN": "true"}
    with server_factory(tmp_path_factory.mktemp("closed"), HUB) as start:
        started: HytheServer = start(env=env)
        started.create_user("curator", PASSWORD, admin=True)
        yield started


@pytest.fixture(scope="module")
def ann(server: HytheServer) -> Iterator[httpx2.Client]:
    """Ann, who signed up by the API."""
    new = {"username": "ann", "email": "ann@example.com", "password": PASSWORD}
    assert httpx2.post(f"{server.url}/api/v1/users", json=new).status_code == 201
    with httpx2.Client(base_url=server.url, auth=("ann", PASSWORD), timeout=30) as client:
        new = {"namespace": "ann", "name": "app", "description": f"The {MARK} app"}
        assert client.post("/api/v1/repositories", json=new).status_code == 201
        query = {"service": server.host, "scope": "repository:ann/app:pull,push"}
        token = client.get("/token", params=query).json()["token"]
        headers = {"Authorization": f"Bearer {token}", "Content-Type": INDEX}
        pushed = httpx2.put(f"{server.url}/v2/ann/app/manifests/latest", content=EMPTY, headers=headers)
        assert pushed.status_code == 201, pushed.text
        yield client


def test_the_anonymous_read_nothing(server: HytheServer, ann: httpx2.Client) -> None:
    """Each route with GET refuses, as 404 or otherwise, or leads to the sign-in page; Ann sees what she owns."""
    shown = []
    with httpx2.Client(base_url=server.url, timeout=30) as anonymous:
        for path in sorted(set(_reads())):
            reply = anonymous.get(path)
            hidden = reply.status_code in (400, 401, 403, 404) or "/sign-in" in reply.headers.get("location", "")
            if MARK in reply.text or reply.status_code >= 500 or not (hidden or path.partition("?")[0] in OPEN):
                shown.append((path, reply.status_code))
        query = {"service": server.host, "scope": "repository:ann/app:pull"}
        token = anonymous.get("/token", params=query).json().get("token", "none")
        headers = {"Authorization": f"Bearer {token}"}
        pull = anonymous.get("/v2/ann/app/manifests/latest", headers=headers)

    assert shown == []
    assert pull.status_code == 401
    for path in ("/v1/search?q=app", "/api/v1/repositories/ann/app", "/v2/repositories/ann/app/"):
        assert MARK in ann.get(path).text


def test_sign_in_and_recovery_work(server: HytheServer, ann: httpx2.Client) -> None:
    """Without signing in: confirm an e-mail address, and set a forgotten password."""
    with httpx2.Client(base_url=server.url, timeout=30) as anonymous:
        confirmed = anonymous.post("/api/v1/email-addresses/confirm", json={"token": _confirmation(server)})
        asked = anonymous.post("/api/v1/password-resets", json={"account": "ann"})
        as_curator = ("curator", PASSWORD)
        link = httpx2.post(f"{server.url}/api/v1/users/ann/password-reset", auth=as_curator).json()["url"]
        body = {"token": link.rpartition("token=")[2], "password": PASSWORD}
        completed = anonymous.post("/api/v1/password-resets/complete", json=body)

    assert confirmed.json() == {"username": "ann", "email": "ann@example.com"}
    assert (asked.status_code, completed.status_code) == (204, 204)
    assert ann.get("/api/v1/users/me").json()["email_confirmed"]


def _confirmation(server: HytheServer) -> str:
    """Return the secret of the link in the only e-mail."""
    [message] = httpx2.get(f"{server.url}/api/v1/admin/mail", auth=("curator", PASSWORD)).json()["items"]
    return re.findall(r"/confirm-email\?token=(\S+)", message["text"])[0]


def test_machines_work(server: HytheServer, ann: httpx2.Client) -> None:
    """Trigger URLs start builds, workers claim them; forge webhooks are judged by their signature alone."""
    path = "/api/v1/repositories/ann/app/build-configuration"
    source = {"url": "https://git.example.com/a/b.git", "default_branch": "main"}
    assert ann.post(path, json={"source": source}).status_code < 300
    trigger = ann.get(f"{path}/trigger").json()["path"]

    started = httpx2.post(f"{server.url}{trigger}", json={})
    job = HandWorker(server.url).claim()
    hook = httpx2.post(f"{server.url}/hooks/unknown", json={})

    assert started.status_code == 202
    assert job is not None
    assert hook.status_code == 404
